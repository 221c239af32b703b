"""Making what `pipm run` uses: locks that answer requirements, and environments of the cache.

Whoever makes something there holds the cache's lock shared; the collector holds it alone while it removes.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pipm.core.pins import Selection
from pipm.env.ask_target import ask_target
from pipm.env.base_interpreter import find_fitting, find_interpreter
from pipm.env.environment import load_environment
from pipm.env.installed import installed
from pipm.errors import InterpreterError, LockError, UsageError
from pipm.fs.durability import sync_tree
from pipm.fs.flock import locked
from pipm.fs.link_modes import LinkMode
from pipm.fs.own_files import make_folders, move_durably, remove_folder, scratch, write_lines, write_marker
from pipm.lock_command.write_lock import Request, write_lock
from pipm.lockfile.inline_script import script_needs
from pipm.lockfile.read_lock import read_lock
from pipm.run.stack_environments import stack
from pipm.store.layout import lock_timeout
from pipm.store.paths import READY, cache_lock, environments_folder, locks_folder
from pipm.sync.sync import sync
from pipm.sync.sync_values import Lock, SyncOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.context.progress import Progress
    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.run.run_request import Wish


def resolve(wish: Wish, path: str, progress: Progress) -> None:
    """Let uv or pip write the lock at *path* that answers the requirements of *wish*.

    What a lock or an environment below has stays as it is, unless a requirement says otherwise.
    """
    python, needs = _interpreter(wish), [*_script_needs(wish), *wish.specs]
    requirements = [_checked(need) for need in needs]
    progress.note(f"resolving {', '.join(needs) or 'nothing'}")
    if b"[tool.uv" in wish.block:
        progress.note(f"what [tool.uv] says counts by a lock alone: uv lock --script {wish.script}")
    with _cache(progress), scratch(locks_folder()) as folder:
        request = Request(
            source=f"{folder}/requirements.in",
            # The paths in a lock are relative to its folder.
            path=f"{locks_folder()}/pylock.{os.path.basename(folder)[1:]}.toml",
            python=python,
            constraints=f"{folder}/constraints.txt",
        )
        write_lines(request.source, needs)
        write_lines(f"{folder}/constraints.txt", list(_constraints(wish, python, requirements)))
        write_lock(request)
        move_durably(request.path, path)


def make(wish: Wish, path: str, resolved: str, progress: Progress) -> None:
    """Make the environment at *path*, by the lock of *wish* and that at *resolved*, where there are such."""
    python = _interpreter(wish)
    with _cache(progress):
        if os.path.lexists(path) and not os.access(f"{path}/bin/python", os.X_OK):
            remove_folder(path)  # the interpreter that it was made with is gone

        def pins(target: Target) -> list[Pin]:
            added = _pins(resolved, target, ())
            for other in wish.below:
                there = installed_versions(other)
                added = {name: pin for name, pin in added.items() if there.get(name) != pin.version}
            found = _pins(wish.lock, target, wish.members) | added
            if wish.block:
                _check_script(wish, found, target)
            return list(found.values())

        key = os.path.basename(path)
        options = SyncOptions(link_mode=LinkMode.FINDER, python=python)
        sync(wish.store, path, Lock(path=wish.lock or resolved, promise=key, pins=pins), options, progress)
        if wish.below:
            stack(path, wish.below)
            sync_tree(path)
        write_marker(f"{path}/{READY}")  # the environment is used without another look from now on


@contextlib.contextmanager
def _cache(progress: Progress) -> Iterator[None]:
    """Hold the cache's lock as everybody does who makes something in it."""
    for folder in (environments_folder(), locks_folder()):
        make_folders(folder)

    def waiting(what: str) -> None:
        progress.note(f"waiting for another process that works on {what}")

    with locked(cache_lock(), what="the cache", shared=True, timeout=lock_timeout(), waiting=waiting):
        yield


def _interpreter(wish: Wish) -> str:
    """The interpreter that the environment is for; InterpreterError where it does not fit the script."""
    requires = script_needs(wish.script, wish.block)[1] if wish.block else ""
    if not wish.below:
        return find_fitting(wish.python, requires, wish.script).path
    below = find_interpreter(f"{wish.below[0]}/bin/python")
    for path in wish.below[1:]:
        _check_same(wish.below[0], below.version, path, find_interpreter(f"{path}/bin/python").version)
    if wish.python is not None:
        _check_same(wish.below[0], below.version, "--python", find_interpreter(wish.python).version)
    return find_fitting(below.path, requires, wish.script).path


def _check_same(one: str, version: tuple[int, ...], other: str, found: tuple[int, ...]) -> None:
    if version[:2] != found[:2]:
        shown, there = (".".join(map(str, numbers[:2])) for numbers in (version, found))
        raise InterpreterError(
            f"{one} is for Python {shown}, {other} for {there}", hint="stack environments of one Python"
        )


def _script_needs(wish: Wish) -> tuple[str, ...]:
    return script_needs(wish.script, wish.block)[0] if wish.block and not wish.lock else ()


def _checked(need: str) -> Requirement | None:
    """The requirement *need*; None for a folder or archive on this disk, whose name building tells."""
    if os.path.isabs(need):
        return None
    try:
        return Requirement(need)
    except InvalidRequirement as error:
        raise UsageError(
            f"{need!r} is no requirement: {str(error).splitlines()[0]}", hint='such as --with "rich>=13"'
        ) from None


def _constraints(wish: Wish, python: str, needs: Iterable[Requirement | None]) -> Iterator[str]:
    """What is there already, pinned, but for what *needs* wants otherwise."""
    there: dict[str, str] = {}
    for path in reversed(wish.below):
        there |= installed_versions(path)
    for pin in _pins(wish.lock, ask_target(python), wish.members).values():
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
    """Name and version of each distribution in the environment at *path*."""
    environment = load_environment(path)
    root = os.open(environment.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return {one.name: one.version for one in installed(environment, root)}
    finally:
        os.close(root)


def _pins(lock: str, target: Target, members: tuple[str, ...]) -> dict[str, Pin]:
    selection = Selection(packages=members)
    return {pin.name: pin for pin in read_lock(lock, target, selection)} if lock else {}


def _check_script(wish: Wish, pins: dict[str, Pin], target: Target) -> None:
    """Raise LockError where the lock of the script does not have what the script asks for (any more)."""
    if not wish.lock:
        return
    for text in script_needs(wish.script, wish.block)[0]:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate(dict(target.markers)):
            continue
        pin = pins.get(canonicalize_name(need.name))
        fits = pin is not None and (
            pin.version is None or need.specifier.contains(pin.version, prereleases=True)
        )
        if not fits:
            raise LockError(
                f"{wish.script} asks for {text}, which {wish.lock} does not have",
                hint=f"lock it again: uv lock --script {wish.script}",
            )
