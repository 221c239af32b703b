"""Real environments of pip, uv, Poetry and PDM, copied from templates to a disk."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.process import check
from support.synthetic import VERSION, Environment
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheelhouse:
    """A folder of wheels, fetched once in a run."""

    path: str

    def fetch(self, *specs: str) -> None:
        """Fetch wheels and their dependencies for this interpreter."""
        command = (sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:")
        check(*command, "-d", self.path, *specs)

    def direct(self, *pins: str) -> list[str]:
        """Return a direct reference for each local wheel; pins choose versions."""
        versions: dict[str, dict[str, str]] = {}
        for file in sorted(os.listdir(self.path)):
            name, version = file.lower().split("-")[:2]
            versions.setdefault(name, {})[version] = os.path.join(self.path, file)
        chosen = dict(pin.split("==") for pin in pins)
        return [
            f"{name} @ file://{found[chosen.get(name, next(iter(found)))]}"
            for name, found in versions.items()
        ]

    def options(self) -> tuple[str, ...]:
        """Return the options by which pip and uv take wheels from here only."""
        return ("--no-index", "--find-links", self.path)


def find_version(path: str) -> Environment:
    """Return an existing environment, with the interpreter's version from its folders."""
    (name,) = (name for name in os.listdir(os.path.join(path, "lib")) if name.startswith(("python", "pypy")))
    implementation = name.rstrip("0123456789.")
    return Environment(path=path, version=name.removeprefix(implementation), implementation=implementation)


def venv(path: str, *, python: str = "", pip: bool = True) -> Environment:
    """Make an environment with the standard library's venv."""
    options = () if pip else ("--without-pip",)
    check(python or os.path.realpath(sys.executable), "-m", "venv", *options, path)
    return find_version(path)


def pip_install(environment: Environment, *arguments: str) -> str:
    """Run the environment's own `pip install`."""
    return check(environment.python, "-m", "pip", "install", "-q", *arguments)


def uv_variables(cache: str) -> dict[str, str]:
    """Return the environment variables for uv with a cache of our own."""
    return {"UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}


def uv_environment(
    path: str, *arguments: str, cache: str, link_mode: str = "copy", python: str = ""
) -> Environment:
    """Make an environment with uv and install into it."""
    uv, variables = find_tool("uv"), uv_variables(cache)
    base = python or os.path.realpath(sys.executable)
    check(uv, "venv", "-q", "--python", base, path, environ=variables)
    if arguments:
        uv_install(path, *arguments, cache=cache, link_mode=link_mode)
    return find_version(path)


def uv_install(path: str, *arguments: str, cache: str, link_mode: str = "copy") -> str:
    """Run `uv pip install` for an environment."""
    python = os.path.join(path, "bin", "python")
    command = (find_tool("uv"), "pip", "install", "-q", "--python", python)
    mode = ("--link-mode", link_mode)
    return check(*command, *mode, *arguments, environ=uv_variables(cache))


def _project(folder: str, needs: Iterable[str]) -> None:
    rows = "".join(f'  "{need}",\n' for need in needs)
    text = (
        '[project]\nname = "project"\nversion = "0"\n'
        f'requires-python = "=={VERSION}.*"\ndependencies = [\n{rows}]\n'
        "[tool.poetry]\npackage-mode = false\n"
        "[tool.pdm]\ndistribution = false\n"
        "[tool.uv]\npackage = false\n"
    )
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "pyproject.toml"), "w", encoding="utf-8") as file:
        file.write(text)


def poetry_variables(cache: str) -> dict[str, str]:
    """Return the environment variables for Poetry with a cache of our own."""
    return {
        "POETRY_CACHE_DIR": cache,
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_NO_INTERACTION": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


def poetry_project(folder: str, needs: Iterable[str], *, cache: str) -> Environment:
    """Lock and install a project with Poetry.

    Direct references make it independent of the index: some mirrors have no JSON for Poetry.
    """
    _project(folder, needs)
    variables = poetry_variables(cache)
    poetry = find_tool("poetry")
    base = os.path.realpath(sys.executable)
    check(poetry, "env", "use", "-q", base, cwd=folder, environ=variables)
    check(poetry, "lock", cwd=folder, environ=variables)
    check(poetry, "install", cwd=folder, environ=variables)
    return find_version(os.path.join(folder, ".venv"))


def pdm_project(folder: str, needs: Iterable[str], *, cache: str) -> Environment:
    """Lock and install a project with PDM."""
    _project(folder, needs)
    variables = {"PDM_CACHE_DIR": cache, "PDM_CHECK_UPDATE": "0", "PDM_VENV_IN_PROJECT": "1"}
    pdm, base = find_tool("pdm"), os.path.realpath(sys.executable)
    check(pdm, "use", "-q", "-f", base, cwd=folder, environ=variables)
    check(pdm, "lock", "-q", cwd=folder, environ=variables)
    check(pdm, "sync", "-q", cwd=folder, environ=variables)
    return find_version(os.path.join(folder, ".venv"))


def uv_project(folder: str, needs: Iterable[str], *, variables: Mapping[str, str]) -> Environment:
    """Lock and install a project with uv."""
    _project(folder, needs)
    base = os.path.realpath(sys.executable)
    check(find_tool("uv"), "sync", "-q", "--python", base, cwd=folder, environ=variables)
    return find_version(os.path.join(folder, ".venv"))


def copy_environment(template: Environment, path: str) -> Environment:
    """Copy an environment to another place and make its scripts run there."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    check("cp", "-a", "--reflink=never", template.path, path)
    moved = Environment(path=path, version=template.version, implementation=template.implementation)
    changed = _rewrite_scripts(moved, template.path)
    for name in os.listdir(moved.site):
        if name.endswith(".dist-info"):
            _rewrite_record(moved, os.path.join(moved.site, name, "RECORD"), changed)
    return moved


def _rewrite_scripts(moved: Environment, old: str) -> set[str]:
    changed = set()
    folder = os.path.join(moved.path, "bin")
    for path in [os.path.join(moved.path, "pyvenv.cfg"), *_files(folder)]:
        with open(path, "rb") as file:
            content = file.read()
        if old.encode() in content:
            with open(path, "wb") as file:
                file.write(content.replace(old.encode(), moved.path.encode()))
            changed.add(os.path.realpath(path))
    return changed


def _files(folder: str) -> list[str]:
    paths = (os.path.join(folder, name) for name in os.listdir(folder))
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def _rewrite_record(moved: Environment, record: str, changed: set[str]) -> None:
    """Give the moved scripts' rows their new digests, as an installer here would have written."""
    if not os.path.exists(record):
        return
    with open(record, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    stale = [row for row in rows if row[1:2] != [""] and _place(moved, row) in changed]
    for row in stale:
        with open(_place(moved, row), "rb") as file:
            content = file.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
        row[1:] = [f"sha256={digest.rstrip(b'=').decode()}", str(len(content))]
    if stale:
        with open(record, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _place(moved: Environment, row: list[str]) -> str:
    return os.path.realpath(os.path.join(moved.site, row[0]))
