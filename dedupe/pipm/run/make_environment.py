"""Making the cached environments of `pipm run`, and locks from requirements.

Writers hold the cache's lock shared; gc holds it exclusively.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipm.core.selection import Selection
from pipm.env.ask_target import ask_target
from pipm.env.base_interpreter import find_fitting, find_interpreter
from pipm.env.environment import load_environment
from pipm.env.installed import installed_distributions
from pipm.errors import InterpreterError, LockError, UsageError
from pipm.fs.durability import sync_tree
from pipm.fs.flock import locked
from pipm.fs.link_modes import LinkMode
from pipm.fs.opened import opened_folder
from pipm.fs.own_files import make_folders, move_durably, scratch_folder, write_lines, write_marker
from pipm.fs.removal import remove_folder
from pipm.lock_command.write_lock import LockRequest, write_lock
from pipm.lockfile.inline_script import script_needs
from pipm.lockfile.read_lock import read_lock
from pipm.run.stack_environments import stack_environments
from pipm.store.paths import READY, cache_lock, environments_folder, locks_folder
from pipm.sync.sync import sync
from pipm.sync.sync_values import Lock, SyncOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.context.progress import Progress
    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.run.run_request import RunRequest


def resolve(request: RunRequest, path: str, progress: Progress) -> None:
    """Resolve the requirements of *request* with uv or pip into the lock at *path*.

    Versions of the lock and of environments below are kept, unless a requirement excludes them.
    """
    python, needs = _interpreter(request), [*_script_needs(request), *request.specs]
    requirements = [_checked(need) for need in needs]
    progress.note(f"resolving {', '.join(needs) or 'nothing'}")
    if b"[tool.uv" in request.block:
        progress.note(f"[tool.uv] is ignored without a lock; make one: uv lock --script {request.script}")
    with _cache(), scratch_folder(locks_folder()) as folder:
        lock_request = LockRequest(
            source=f"{folder}/requirements.in",
            # The paths in a lock are relative to its folder.
            path=f"{locks_folder()}/pylock.{os.path.basename(folder)[1:]}.toml",
            python=python,
            constraints=f"{folder}/constraints.txt",
        )
        write_lines(lock_request.source, needs)
        write_lines(f"{folder}/constraints.txt", list(_constraints(request, python, requirements)))
        write_lock(lock_request)
        move_durably(lock_request.path, path)


def make_environment(request: RunRequest, path: str, resolved: str, progress: Progress) -> None:
    """Make the environment at *path* from the lock of *request* and the lock *resolved* (may be empty)."""
    python = _interpreter(request)
    with _cache():
        if os.path.lexists(path) and not os.access(f"{path}/bin/python", os.X_OK):
            remove_folder(path)  # its interpreter was removed

        def pins(target: Target) -> list[Pin]:
            added = _pins(resolved, target, ())
            for other in request.below:
                there = installed_versions(other)
                added = {name: pin for name, pin in added.items() if there.get(name) != pin.version}
            found = _pins(request.lock, target, request.members) | added
            if request.block:
                _check_script(request, found, target)
            return list(found.values())

        key = os.path.basename(path)
        options = SyncOptions(link_mode=LinkMode.FINDER, python=python)
        sync(
            request.store,
            path,
            Lock(path=request.lock or resolved, fingerprint=key, pins=pins),
            options,
            progress,
        )
        if request.below:
            stack_environments(path, request.below)
            sync_tree(path)
        write_marker(f"{path}/{READY}")  # later runs use the environment without further checks


@contextlib.contextmanager
def _cache() -> Iterator[None]:
    """Hold the cache's lock shared, as writers do."""
    for folder in (environments_folder(), locks_folder()):
        make_folders(folder)

    with locked(cache_lock(), what="the cache", shared=True):
        yield


def _interpreter(request: RunRequest) -> str:
    """Return the interpreter for the environment; raise InterpreterError if it does not fit the script."""
    requires = script_needs(request.script, request.block)[1] if request.block else ""
    if not request.below:
        return find_fitting(request.python, requires, request.script).path
    below = find_interpreter(f"{request.below[0]}/bin/python")
    for path in request.below[1:]:
        _check_same(request.below[0], below.version, path, find_interpreter(f"{path}/bin/python").version)
    if request.python is not None:
        _check_same(request.below[0], below.version, "--python", find_interpreter(request.python).version)
    return find_fitting(below.path, requires, request.script).path


def _check_same(one: str, version: tuple[int, ...], other: str, found: tuple[int, ...]) -> None:
    if version[:2] != found[:2]:
        shown, there = (".".join(map(str, numbers[:2])) for numbers in (version, found))
        raise InterpreterError(
            f"{one} is for Python {shown}, {other} for {there}", hint="stack environments of one Python"
        )


def _script_needs(request: RunRequest) -> tuple[str, ...]:
    return script_needs(request.script, request.block)[0] if request.block and not request.lock else ()


def _checked(need: str) -> Requirement | None:
    """Parse the requirement *need*; return None for a local folder or archive, whose name is unknown."""
    if os.path.isabs(need):
        return None
    try:
        return Requirement(need)
    except ValueError as error:
        raise UsageError(
            f"{need!r} is not a valid requirement: {str(error).splitlines()[0]}",
            hint='write it like --with "rich>=13"',
        ) from None


def _constraints(request: RunRequest, python: str, needs: Iterable[Requirement | None]) -> Iterator[str]:
    """Yield pins of the versions in the lock and below, unless *needs* excludes them."""
    there: dict[str, str] = {}
    for path in reversed(request.below):
        there |= installed_versions(path)
    for pin in _pins(request.lock, ask_target(python), request.members).values():
        if pin.version is not None and pin.origin is None:
            there[pin.name] = pin.version
    for need in needs:
        name = "" if need is None else canonicalize_name(need.name)
        if need is None or name not in there:
            continue
        if need.url or not need.specifier.contains(there[name], prereleases=True):
            del there[name]
    yield from (f"{name}=={version}" for name, version in sorted(there.items()))


def installed_versions(path: str) -> dict[str, str]:
    """Return the version of each distribution in the environment at *path*, by name."""
    environment = load_environment(path)
    with opened_folder(environment.path) as root:
        return {one.name: one.version for one in installed_distributions(environment, root)}


def _pins(lock: str, target: Target, members: tuple[str, ...]) -> dict[str, Pin]:
    selection = Selection(packages=members)
    return {pin.name: pin for pin in read_lock(lock, target, selection)} if lock else {}


def _check_script(request: RunRequest, pins: dict[str, Pin], target: Target) -> None:
    """Raise LockError if the lock of the script lacks a requirement of the script."""
    if not request.lock:
        return
    for text in script_needs(request.script, request.block)[0]:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate(dict(target.markers)):
            continue
        pin = pins.get(canonicalize_name(need.name))
        fits = pin is not None and (
            pin.version is None or need.specifier.contains(pin.version, prereleases=True)
        )
        if not fits:
            raise LockError(
                f"{request.script} requires {text}, which {request.lock} does not contain",
                hint=f"lock it again: uv lock --script {request.script}",
            )
