"""Environments behind `pipm run`: made of almost no files, kept by what their lock says (design D15)."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

from dedupe.errors import LockError
from dedupe.lock.find import find_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupe.ops.progress import Progress

_READY = ".pipm/ready"
_FORMAT = 1


def environment_for(
    store: str, lock: str | None, python: str | None, progress: Callable[[], Progress]
) -> str:
    """Return an environment that is exactly *lock* (or the nearest one upward), made if need be.

    One for each content of the lock, each *python* and store: a lock that changes takes nothing from programs
    that run. Raises PipmError.
    """
    found = find_lock(os.getcwd()) if lock is None else os.path.realpath(lock)
    if found is None:
        raise LockError(
            "There is no lock file here or in any folder above",
            hint="name it: pipm run --lock LOCK -- CMD; or an environment: pipm run --env DIR -- CMD",
        )
    path = os.path.join(_folder(), _key(store, found, python))
    if not os.path.exists(f"{path}/{_READY}"):
        _make(store, path, found, python, progress())
    return path


def _folder() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.realpath(cache), "pipm", "environments")


def _key(store: str, lock: str, python: str | None) -> str:
    """What decides which files the environment gets; Poetry and PDM keep some of that beside the lock."""
    state = hashlib.sha256(f"{_FORMAT}\0{store}\0{lock}\0{python}\0{sys.version}".encode())
    for file in (lock, os.path.join(os.path.dirname(lock), "pyproject.toml")):
        try:
            with open(file, "rb") as stream:
                state.update(hashlib.sha256(stream.read()).digest())
        except FileNotFoundError as error:
            if file == lock:
                raise LockError(f"There is no lock file {lock}", hint="name an existing one") from error
    project = os.path.basename(os.path.dirname(lock))
    return f"{project or 'root'}-{state.hexdigest()[:16]}"


def _make(store: str, path: str, lock: str, python: str | None, progress: Progress) -> None:
    from dedupe.core.pins import Selection  # noqa: PLC0415 - a second run needs none of it
    from dedupe.fs.folders import make_folders, write_marker  # noqa: PLC0415
    from dedupe.fs.links import LinkMode  # noqa: PLC0415
    from dedupe.ops.lockfile import open_lock  # noqa: PLC0415
    from dedupe.ops.sync import sync  # noqa: PLC0415
    from dedupe.ops.synced import SyncOptions  # noqa: PLC0415

    make_folders(os.path.dirname(path))
    options = SyncOptions(link_mode=LinkMode.FINDER, python=python)
    sync(store, path, open_lock(lock, Selection(), ("run",)), options, progress)
    write_marker(f"{path}/{_READY}")
