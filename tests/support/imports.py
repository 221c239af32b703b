"""The imports and metadata that an environment's interpreter sees, to compare two environments.

`PROBE` runs in the environment's own interpreter and prints one JSON object: question → answer. Paths are
cut where site-packages (or a distribution's folder in the store) begins, so that two environments of the same
distributions must give the same answers.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from support.process import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.synthetic import Environment

PROBE = r"""
import importlib, importlib.machinery, importlib.metadata as metadata, importlib.util
import json, os, pkgutil, re, sys, warnings
warnings.simplefilter("ignore")
names = json.loads(sys.argv[1])
answers = {}

def tail(path):
    if not isinstance(path, str):
        return path
    return re.sub(r"^.*(site-packages|/site)(/|$)", "", path)

def tails(value):
    return sorted(set(map(tail, value)))

def question(name):
    def ask(function):
        try:
            answers[name] = function()
        except BaseException as error:
            answers[name] = f"{type(error).__name__}: {tail(str(error))}"[:160]
    return ask

def kinds(loader):
    known = [importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader,
             importlib.machinery.SourcelessFileLoader]
    return [kind.__name__ for kind in known if isinstance(loader, kind)] or type(loader).__name__

before = list(sys.path)
for name in names:
    @question(f"find {name}")
    def _():
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        return [spec.name, spec.parent, spec.has_location, tail(spec.origin), tail(spec.cached),
                kinds(spec.loader), tails(spec.submodule_search_locations or [])]

    @question(f"import {name}")
    def _():
        module = importlib.import_module(name)
        return [module.__name__, module.__package__, tail(getattr(module, "__file__", None)),
                tails(getattr(module, "__path__", [])), tail(getattr(module, "__cached__", None))]

@question("top level")
def _():
    return sorted((m.name, m.ispkg) for m in pkgutil.iter_modules()
                  if not isinstance(m.module_finder, importlib.machinery.FileFinder)
                  or "site" in m.module_finder.path)

for name in names:
    @question(f"walk {name}")
    def _():
        module = sys.modules[name]
        path = getattr(module, "__path__", None)
        found = pkgutil.walk_packages(path, name + ".", onerror=lambda _: None) if path is not None else ()
        return sorted((m.name, m.ispkg) for m in found)

@question("PathFinder")
def _():
    found = [importlib.machinery.PathFinder.find_spec(name) for name in names if "." not in name]
    return [spec and tail(spec.origin) for spec in found]

@question("distributions")
def _():
    return sorted((d.metadata["Name"].lower(), d.version) for d in metadata.distributions())

@question("files")
def _():
    return {d.metadata["Name"].lower(): sorted(str(f) for f in (d.files or ())
                                       if f.locate().exists() and not str(f).endswith(".pyc"))
            for d in metadata.distributions()}

@question("texts")
def _():
    wanted = ("METADATA", "WHEEL", "RECORD", "INSTALLER", "entry_points.txt", "top_level.txt", "LICENSE")
    return {d.metadata["Name"].lower(): [d.read_text(name) for name in wanted]
            for d in metadata.distributions()}

@question("contents")
def _():
    return {d.metadata["Name"].lower(): [len(f.read_binary()) for f in (d.files or ())[:4]]
            for d in metadata.distributions()}

@question("entry points")
def _():
    points = metadata.entry_points()
    points = [p for group in points.values() for p in group] if hasattr(points, "values") else points
    return sorted({f"{p.group}: {p.name} = {p.value}" for p in points})

@question("packages_distributions")
def _():
    found = metadata.packages_distributions()
    found.pop("__pycache__", None)  # from Python 3.12 on for bytecode in RECORD, which the finder's lists not
    return {name: sorted(set(several)) for name, several in found.items()}

@question("resources")
def _():
    from importlib.resources import files
    return {name: sorted(item.name for item in files(name).iterdir() if item.name != "__pycache__")
            for name in names if getattr(sys.modules.get(name), "__path__", None)}

@question("path kept")
def _():
    return before == sys.path

print(json.dumps(answers))
"""


def answers_of(
    environment: Environment,
    names: list[str],
    *options: str,
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> dict[str, Any]:
    """Run the probe over the modules *names* in an environment."""
    command = (environment.python, *options, "-c", PROBE, json.dumps(names))
    out = check(*command, cwd=cwd or environment.path, environ=environ, timeout=900)
    answers: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answers


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The questions that two environments answer differently."""
    return {
        name: (one.get(name), other.get(name))
        for name in {**one, **other}
        if _plain(one.get(name)) != _plain(other.get(name))
    }


def _plain(value: object) -> str:
    """Addresses in the texts of errors differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x", json.dumps(value, sort_keys=True))
