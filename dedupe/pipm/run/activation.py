"""Making packages importable in a running interpreter: `pipm.activate`, `pipm.interactive`.

As for `pipm run`, a cached environment for this interpreter is found or made. `site` adds its site-packages,
with the finder, before the interpreter's own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import site
import sys
import warnings
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from pipm.context.progress import Progress
from pipm.env.environment import is_environment, load_environment
from pipm.env.permission import check_found, check_runnable
from pipm.errors import InterpreterError, LockError, PipmError, UsageError
from pipm.finder.import_table import HOOK
from pipm.lockfile.find_lock import find_lock
from pipm.run.cached_environment import environment_for
from pipm.run.run_request import RunRequest
from pipm.run.stale_lock import changed_lock
from pipm.store.paths import environment_path, store_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.env.environment import Environment

_OUR_CALLERS = 5
"""Stack frames from `_warn` to the caller of `pipm.activate`."""


class LoadedVersionWarning(UserWarning):
    """A module was imported before in another version than the activated one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A module that is imported already: its version, and the activated one."""

    module: str
    version: str
    activated: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """An activation: the environment's folder, the lock or requirements, modules with another version."""

    environment: str
    source: str
    conflicts: tuple[Loaded, ...] = ()


def activate_place(place: str | os.PathLike[str] | None) -> Activation:
    """Activate the lock, project or environment *place*; see `pipm.activate`."""
    with _hinted():
        source = _source(place)
        if is_environment(source):
            check_runnable(f"{os.path.realpath(source)}/bin/python")
            _refuse_stale(os.path.realpath(source))
            return _activated(_fitting(source), source)
        request = RunRequest(store_path(None), lock=os.path.realpath(source), python=_own_interpreter())
        return _activated(load_environment(environment_for(request, Progress)), source)


def activate_specs(specs: Sequence[str]) -> Activation:
    """Activate distributions that meet the requirements *specs*; see `pipm.interactive`."""
    with _hinted():
        if not specs:
            raise UsageError("Nothing to activate", hint='such as pipm.interactive("numpy>=2", "pandas")')
        request = RunRequest(store_path(None), specs=tuple(specs), python=_own_interpreter())
        return _activated(load_environment(environment_for(request, Progress)), ", ".join(specs))


@contextlib.contextmanager
def _hinted() -> Iterator[None]:
    """Add the hint of an error to its traceback."""
    try:
        yield
    except PipmError as error:
        if error.hint is not None:
            error.add_note(f"hint: {error.hint}")
        raise


def _source(place: str | os.PathLike[str] | None) -> str:
    """Return the lock file or the environment that *place* means."""
    path = os.getcwd() if place is None else environment_path(os.fspath(place))
    path = os.path.abspath(os.path.expanduser(path))
    if is_environment(path) or os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise UsageError(
            f"There is no {place}", hint="name a lock file, a project's folder or an environment"
        )
    found = find_lock(path)
    if found is None and is_environment(f"{path}/.venv"):
        return f"{path}/.venv"
    if found is None:
        raise LockError(
            f"There is no lock file in {path} or any folder above",
            hint='name one, or resolve requirements: pipm.interactive("numpy>=2")',
        )
    check_found(found)
    return found


def _refuse_stale(path: str) -> None:
    """Raise LockError for a changed lock if PIPM_STALE=error: the hook would end the whole program."""
    changed = changed_lock(store_path(None), path) if os.environ.get("PIPM_STALE") == "error" else None
    if changed is not None:
        raise LockError(
            f"{changed[0]} changed since {path} was made from it", hint=f"pipm sync {changed[0]} --env {path}"
        )


def _own_interpreter() -> str:
    """Return the base interpreter of this process."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _fitting(path: str) -> Environment:
    environment = load_environment(path)
    here = "{}.{}".format(*sys.version_info)
    if ".".join(environment.python.split(".")[:2]) != here:
        raise InterpreterError(
            f"{path} is for Python {environment.python}, this is {here}",
            hint="activate its lock instead: then pipm makes an environment for this Python",
        )
    return environment


def _activated(environment: Environment, source: str) -> Activation:
    folder = f"{environment.path}/{environment.site}"
    before = list(sys.path)
    site.addsitedir(folder)
    known = _entries(environment.path, folder)
    own = [entry for entry in sys.path if entry in known or entry not in before]
    rest = [entry for entry in sys.path if entry not in own]
    at = next((number for number, entry in enumerate(rest) if _is_site(entry)), len(rest))
    sys.path[:] = [*rest[:at], *own, *rest[at:]]
    importlib.invalidate_caches()
    conflicts = tuple(_conflicts(folder, before))
    for one in conflicts:
        _warn(one, source)
    return Activation(environment=environment.path, source=source, conflicts=conflicts)


def _warn(one: Loaded, source: str) -> None:
    text = f"{one.module} {one.version} is imported already, {source} has {one.activated}"
    warnings.warn(
        f"{text}: restart the interpreter (kernel) first", LoadedVersionWarning, stacklevel=_OUR_CALLERS
    )


def _entries(path: str, folder: str) -> set[str]:
    """Return the entries of `sys.path` of the environment at *path*, whose site-packages is *folder*."""
    found = {folder}
    for index in getattr(sys.modules.get(HOOK), "indexes", ()):
        if index.environment == path:
            found.update((index.path, *index.folders()))
    return found


def _is_site(entry: str) -> bool:
    return os.path.basename(entry) in ("site-packages", "dist-packages")


def _conflicts(folder: str, before: list[str]) -> Iterator[Loaded]:
    """Find modules that were imported from elsewhere, in another version than the one in *folder*."""
    elsewhere = [entry for entry in before if entry != folder]
    for name, origin in sorted(_loaded()):
        spec = PathFinder.find_spec(name)
        if spec is None or spec.origin is None or os.path.realpath(spec.origin) == os.path.realpath(origin):
            continue
        activated = _version(name, [folder])
        version = _version(name, elsewhere)
        if activated and activated != version:
            yield Loaded(module=name, version=version or f"of {origin}", activated=activated)


def _loaded() -> Iterator[tuple[str, str]]:
    """Yield top-level modules that are imported, and their files."""
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if "." not in name and isinstance(origin, str) and os.path.isabs(origin):
            yield name, origin


def _version(module: str, path: list[str]) -> str:
    """Return the version of the distribution on *path* with the top-level *module*; "" if there is none."""
    from importlib import metadata  # noqa: PLC0415 - 30 ms, where a module comes from elsewhere

    for one in metadata.distributions(path=path):
        tops = (one.read_text("top_level.txt") or "").split()
        if not tops:
            tops = [str(file.parts[0]).partition(".")[0] for file in one.files or ()]
        if module in tops:
            return one.version
    return ""
