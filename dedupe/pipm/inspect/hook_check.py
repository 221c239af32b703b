"""Checking the files that pipm puts into environments (finder, pip wrapper)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pipm
from pipm.env.environment import load_environment
from pipm.errors import NotAnEnvironmentError
from pipm.finder.import_table import SOURCES
from pipm.fs.beneath import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = os.path.dirname(os.path.abspath(pipm.__file__))


@dataclass(frozen=True, kw_only=True, slots=True)
class HookFault:
    """A fault of a hook; if ``broken``, Python cannot import packages of the environment."""

    detail: str
    hint: str
    broken: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hook:
    """The files of a hook: if ``marker`` exists the hook is installed, and all of them must exist.

    ``modules`` are copies of pipm's sources in the environment.
    """

    what: str
    marker: str
    path_file: str
    modules: dict[str, str]
    remedy: str
    broken: bool


_HOOKS = (
    _Hook(
        what="pip wrapper",
        marker=".pipm/pip.json",
        path_file="000_pipm_pip.pth",
        modules={
            ".pipm/_pipm_pip/store_reader.py": "pip_wrapper/runtime/store_reader.py",
            ".pipm/_pipm_pip/hook.py": "pip_wrapper/runtime/pip_hook.py",
            ".pipm/_pipm_pip/__init__.py": "pip_wrapper/runtime/pip_watch.py",
        },
        remedy="pipm adopt --wrap-pip {}",
        broken=False,
    ),
    _Hook(
        what="finder",
        marker=".pipm/finder",
        path_file="000_pipm.pth",
        modules={f".pipm/finder/{name}": f"finder/runtime/{source}" for name, source in SOURCES.items()},
        remedy="pipm adopt {}",
        broken=True,
    ),
)


def hook_faults(path: str, store_path: str) -> Iterator[HookFault]:
    """Yield the faults of the hooks in the environment at *path*, which uses the store at *store_path*."""
    try:
        environment = load_environment(path)
    except NotAnEnvironmentError:
        return
    for hook in _HOOKS:
        if os.path.exists(f"{path}/{hook.marker}"):
            for detail in _faults(hook, path, environment.sites, store_path):
                yield HookFault(
                    detail=f"{hook.what} of {path}: {detail}",
                    hint=hook.remedy.format(path),
                    broken=hook.broken,
                )


def _faults(hook: _Hook, path: str, sites: tuple[str, ...], store_path: str) -> Iterator[str]:
    if not any(os.path.isfile(f"{path}/{site}/{hook.path_file}") for site in sites):
        yield f"{hook.path_file} is missing, so it never starts"
    for name, source in hook.modules.items():
        content = read_file(f"{path}/{name}")
        if content is None:
            yield f"{name} is missing"
        elif content != _own(f"{_PACKAGE}/{source}"):
            yield f"{name} belongs to another version of pipm"
    if hook.marker.endswith(".json"):
        yield from _settings(f"{path}/{hook.marker}", store_path)


def _settings(path: str, store_path: str) -> Iterator[str]:
    try:
        document = json.loads(read_file(path) or b"")
        used, command = document["store"], document["command"]
        program = "".join(command[:1])
    except (ValueError, KeyError, TypeError, RecursionError):
        yield f"{os.path.basename(path)} is damaged"
        return
    if used != store_path:
        yield f"it uses another store, {used}"
    if program and not os.access(program, os.X_OK):
        yield f"{program}, which runs pipm, is gone"


def _own(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()
