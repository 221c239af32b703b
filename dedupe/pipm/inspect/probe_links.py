"""Trying the link modes on the file systems of the store and of environments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.errors import FileSystemError
from pipm.fs.folder_time import same_folder_time
from pipm.fs.free_space import free_space, mount_of
from pipm.fs.link_modes import LinkMode, probe_link_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.store.layout import Store

_MODES = (LinkMode.REFLINK, LinkMode.HARDLINK, LinkMode.SYMLINK)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkProbe:
    """One file system: ``modes`` has each link mode's error, or an empty text; ``free`` is in bytes."""

    mount: str
    kind: str
    modes: dict[str, str]
    free: int
    inodes: int | None
    hint: str


def probe_links(store: Store, environments: Iterable[str]) -> Iterator[LinkProbe]:
    """Try real links from the store into itself, and into one environment of each other file system."""
    devices = {os.stat(path).st_dev: path for path in sorted(environments, reverse=True)}
    places = {mount_of(path).path: path for path in devices.values()}
    places[mount_of(store.path).path] = ""
    for mount, path in sorted(places.items()):
        modes = _modes(store, path)
        free = free_space(path or store.path)
        yield LinkProbe(
            mount=mount,
            kind=mount_of(path or store.path).kind,
            modes=modes,
            free=free.size,
            inodes=free.inodes,
            hint=_hint(store, mount, path, modes),
        )


def _hint(store: Store, mount: str, path: str, modes: dict[str, str]) -> str:
    if any(os.strerror(30) in refusal for refusal in modes.values()):
        return f"mount -o remount,rw {mount}"
    if path:
        return f"pipm --store {mount.rstrip('/')}/.pipm-store adopt {path}"
    return f"choose another place instead of {store.path}: export PIPM_STORE=/…"


def _modes(store: Store, path: str) -> dict[str, str]:
    """Return each mode's error, or an empty text; with an empty *path* link within the store."""
    try:
        target = os.open(path, _DIRECTORY) if path else os.dup(store.tmp)
    except OSError as error:
        return dict.fromkeys((mode.value for mode in _MODES), _reason(error))
    try:
        with same_folder_time(target), store.run() as (run, run_path):
            return {mode.value: _refusal(mode, run, run_path, target) for mode in _MODES}
    except (OSError, FileSystemError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = _reason(cause) if isinstance(cause, OSError) else str(error)
        return dict.fromkeys((mode.value for mode in _MODES), reason)
    finally:
        os.close(target)


def _refusal(mode: LinkMode, run: int, run_path: str, target: int) -> str:
    try:
        probe_link_mode(mode, run, run_path, target)
    except OSError as error:
        return _reason(error)
    return ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
