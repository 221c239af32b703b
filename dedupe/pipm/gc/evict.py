"""Removing unused environments of `pipm run` from the cache.

An environment of the cache is in use while a program of `pipm run` holds its marker, or a process was
started by its interpreter (a Jupyter kernel, say). The marker's time is that of the last run; the access
time of pyvenv.cfg is that of its interpreter's last start. The next run makes a removed environment again.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.fs.flock import locked
from pipm.fs.in_use import is_in_use
from pipm.fs.measure import block_sizes
from pipm.fs.os_errors import explain_os_error
from pipm.fs.own_files import move, remove_file
from pipm.fs.processes import programs_below
from pipm.fs.removal import remove_folder, remove_folder_at, stuck_at
from pipm.store.layout import open_store
from pipm.store.paths import READY, cache_lock, environments_folder, locks_folder
from pipm.store.roots import drop_root, find_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.fs.removal import Stuck
    from pipm.store.layout import Store

_DAY = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Evicted:
    """The removed environments of the cache (or those to remove), and their bytes on disk.

    ``stuck`` are files that could not be removed.
    """

    paths: tuple[str, ...] = ()
    size: int = 0
    stuck: tuple[Stuck, ...] = ()


def evict_unused(store_path: str, keep: float, *, dry_run: bool, timeout: float | None = None) -> Evicted:
    """Remove environments of the store at *store_path* that were not used for *keep* seconds.

    Wait at most *timeout* seconds for runs that make environments. Raise PipmError.
    """
    store = open_store(store_path, create=False)
    if store is None or not os.path.isdir(environments_folder()):
        return Evicted()
    before = time.time() - keep

    try:
        if dry_run:
            paths = tuple(_unused(store, before))
            return Evicted(paths=paths, size=sum(map(_size, paths)))
        with locked(cache_lock(), what="the cache", timeout=timeout):
            stuck = _sweep(environments_folder())
            paths = tuple(_unused(store, before))
            size = sum(map(_size, paths))
            for path in paths:
                stuck += _remove(store, path)
            for path in _old_locks(before):
                remove_file(path)
    except OSError as error:
        raise explain_os_error(error, f"clear the cache {environments_folder()}") from error
    return Evicted(paths=paths, size=size, stuck=tuple(stuck))


def _unused(store: Store, before: float) -> Iterator[str]:
    running = {
        path.removeprefix(f"{environments_folder()}/") for path in programs_below(environments_folder())
    }
    names = {path.partition("/")[0] for path in running}
    for name in sorted(os.listdir(environments_folder())):
        path = f"{environments_folder()}/{name}"
        if name not in names and not name.startswith(".") and _is_unused(store, path, before):
            yield path


def _is_unused(store: Store, path: str, before: float) -> bool:
    if not os.path.exists(f"{path}/{READY}"):  # a killed run left it unfinished, for any store
        return os.stat(path).st_mtime < min(before, time.time() - _DAY)
    used = max(os.stat(f"{path}/{READY}").st_mtime, os.stat(f"{path}/pyvenv.cfg").st_atime)
    return used <= before and find_root(store, path) is not None and not is_in_use(f"{path}/{READY}")


def _size(path: str) -> int:
    return sum(block_sizes(path).values())


def _remove(store: Store, path: str) -> list[Stuck]:
    """Remove an environment; rename it first, so that no run begins to use it."""
    folder, name = os.path.split(path)
    try:
        move(path, f"{folder}/.{name}")
    except OSError as error:
        return [stuck_at(0, path, path, error)]
    drop_root(store, path)
    return remove_folder_at(f"{folder}/.{name}")


def _sweep(folder: str) -> list[Stuck]:
    """Remove the files of a killed collection; return those that stay."""
    stuck: list[Stuck] = []
    for name in os.listdir(folder):
        if name.startswith("."):
            stuck += remove_folder_at(f"{folder}/{name}")
    return stuck


def _old_locks(before: float) -> Iterator[str]:
    """Yield locks resolved from requirements, and files of a killed resolver."""
    for name in sorted(os.listdir(locks_folder())) if os.path.isdir(locks_folder()) else ():
        path = f"{locks_folder()}/{name}"
        if name.startswith("."):
            remove_folder(path)
        elif os.stat(path).st_mtime <= before and not is_in_use(path):
            yield path
