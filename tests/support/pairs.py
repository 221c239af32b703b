"""Two environments of the same distributions: an ordinary one, and one with the finder."""

from __future__ import annotations

import os
from dataclasses import dataclass

from support.installers import find_version
from support.pipm import Pipm
from support.process import check
from support.synthetic import Environment, Files, install, make_environment, package

LEGACY = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"

DISTRIBUTIONS: dict[str, Files] = {
    "alpha==1.0": package("alpha"),
    "single==2.0": {
        "single.py": b"import sys\nVALUE = 2\nif __name__ == '__main__': print('ran', len(sys.argv))\n"
    },
    "space-one==1": {
        "space/one/__init__.py": b"NAME = 'one'\n",
        "space/deep/left.py": b"",
        "space/plain.py": b"",
    },
    "space-two==1": {
        "space/two/__init__.py": b"from space.one import NAME\n",
        "space/deep/right.py": b"X = 1\n",
    },
    "legacy-one==1": {"legacy/__init__.py": LEGACY, "legacy/one.py": b"X = 1\n"},
    "legacy-two==1": {"legacy/__init__.py": LEGACY, "legacy/two.py": b"X = 2\n"},
    "whole==1": {"mono/__init__.py": b"", "mono/core.py": b"X = 1\n"},
    "plug==1": {"mono/plugins/extra.py": b"from mono.core import X\n"},
    "starter==1": {
        "starter.pth": b"import starter_boot\n",
        "starter_boot.py": b"import sys\nsys.started = 1\n",
    },
    "folders==1": {"folders.pth": b"more_folders\n", "more_folders/inner.py": b"X = 1\n"},
    "old-ns==1": {
        "old_ns-1-py3.9-nspkg.pth": b"import sys\n",
        "oldspace/thing.py": b"X = 1\n",
    },
    "main==1": {"runs/__init__.py": b"", "runs/__main__.py": b"import sys; print('ran', __package__)\n"},
    "both==1": {"both.py": b"X = 'module'\n", "both/__init__.py": b"X = 'package'\n"},
    "data-only==1": {"datadir/table.csv": b"1,2\n", "py-data/x.txt": b"x\n"},
    "broken==1": {"broken/__init__.py": b"import not_installed_anywhere\n", "broken/syntax.py": b"def (:\n"},
    "tool==3": {
        "tool/__init__.py": b"def main(): print('tool runs')\n",
        "tool-3.dist-info/entry_points.txt": b"[console_scripts]\ntool = tool:main\n[plugs]\na = tool:main\n",
        "tool-3.dist-info/LICENSE": b"free\n",
        "tool-3.dist-info/top_level.txt": b"tool\n",
        "tool/classes.py": b"class Thing:\n    value = 7\n\ndef double(x):\n    return 2 * x\n",
    },
}
REAL = {"legacy", "mono", "more_folders", "folders.pth", "starter.pth"}
"""What has to stay in site-packages: shared folders with __init__, and path files."""
PATH_FILES = {"000_pipm.pth", "000_pipm_1.pth"}
"""The finder's own: what starts it, and the lines."""
_NAMES = """
alpha alpha.sub alpha.module_1 alpha.sub.module_0 alpha.nothing single space space.one space.two space.deep
space.deep.left space.deep.right space.plain space.nothing legacy legacy.one legacy.two mono mono.core
mono.plugins mono.plugins.extra starter_boot inner more_folders oldspace oldspace.thing runs runs.__main__
both datadir broken broken.syntax tool tool.classes nothing_at_all
"""
NAMES = _NAMES.split()


def fill(environment: Environment) -> None:
    for spec, files in DISTRIBUTIONS.items():
        install(environment, spec, files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The same distributions in an ordinary environment and in one with the finder."""

    flat: Environment
    finder: Environment
    pipm: Pipm


def make_pair(folder: str, python: str = "") -> Pair:
    if python:
        environments = []
        for name in ("flat", "finder"):
            check(python, "-m", "venv", "--without-pip", f"{folder}/{name}")
            environments.append(find_version(f"{folder}/{name}"))
        flat, finder = environments
    else:
        flat, finder = (make_environment(f"{folder}/{name}") for name in ("flat", "finder"))
    for environment in (flat, finder):
        fill(environment)
    pipm = Pipm(store=f"{folder}/store")
    assert pipm.adopt(finder.path, mode="finder").environment["link_mode"] == "finder"
    return Pair(flat=flat, finder=finder, pipm=pipm)


def modules_in(environment: Environment) -> set[str]:
    """Return the names in site-packages without metadata."""
    return {name for name in os.listdir(environment.site) if not name.endswith((".dist-info", "__pycache__"))}
