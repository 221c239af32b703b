"""The store's files as documented, and an environment's files that are in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from support.extents import extents, has_shared_extent, same_place
from support.snapshot import file_digest, is_bytecode, snapshot, walk

if TYPE_CHECKING:
    from support.snapshot import Snapshot

_PRIVATE = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def object_path(store: str, digest: str, *, executable: bool = False) -> str:
    """Return the path of a content in the store: a read-only object, or else a writable one."""
    kind = "-x" if executable else ""
    path = os.path.join(store, "v1", "objects", digest[:2], digest[2:] + kind)
    data = path + "w" if executable else f"{path}-w"
    return data if os.path.exists(data) and not os.path.exists(path) else path


def object_names(store: str) -> set[str]:
    """Return the objects' names relative to their folder."""
    folder = os.path.join(store, "v1", "objects")
    return {os.path.relpath(row.path, folder) for row in walk(folder) if row.is_file()}


def entry_names(store: str) -> set[str]:
    """Return the entries: `<name>/<version>/<tag>-<id8>`."""
    folder = os.path.join(store, "v1", "wheels")
    found = set()
    for row in walk(folder):
        if row.name == "manifest.json":
            found.add(os.path.relpath(os.path.dirname(row.path), folder))
    return found


def root_count(store: str) -> int:
    """Return how many environments are registered."""
    folder = os.path.join(store, "v1", "roots")
    return len(os.listdir(folder)) if os.path.isdir(folder) else 0


def damage(store: str) -> list[str]:
    """Return the damage in a store: wrong content, writable files, incomplete entries, leftovers."""
    found = []
    for name in sorted(object_names(store)):
        path = os.path.join(store, "v1", "objects", name)
        if file_digest(path) != name.replace(os.sep, "")[:64]:
            found.append(f"{name}: content is not its name")
    for name in sorted(entry_names(store)):
        folder = os.path.join(store, "v1", "wheels", name)
        with open(os.path.join(folder, "manifest.json"), "rb") as file:
            try:
                manifest = json.load(file)
            except ValueError as error:
                found.append(f"{name}: manifest is torn: {error}")
                continue
        for path, digest, size, kind, mode, time in manifest["files"]:
            for stored in [os.path.join(folder, path), *([_object(store, digest, kind)] if size else [])]:
                status = os.stat(stored)
                if (status.st_mode & 0o7777, status.st_mtime_ns) != (mode, time):
                    found.append(f"{stored}: mode {status.st_mode:o}, time {status.st_mtime_ns}")
    return found + [f"tmp: {row.path}" for row in leftovers(store)]


def _object(store: str, digest: str, kind: int) -> str:
    name = digest[2:] + ("", "-x", "-w", "-xw")[kind]
    return os.path.join(store, "v1", "objects", digest[:2], name)


def leftovers(store: str) -> list[os.DirEntry[str]]:
    """Return the names in the store's tmp folder."""
    folder = os.path.join(store, "v1", "tmp")
    return list(walk(folder)) if os.path.isdir(folder) else []


def contents(store: str) -> Snapshot:
    """Return the whole store's files for a comparison of before and after."""
    return snapshot(store)


def is_shareable(path: str) -> bool:
    """Tell whether a file of site-packages may be shared at all."""
    name = os.path.basename(path)
    private = name in _PRIVATE and os.path.dirname(path).endswith(".dist-info")
    private = private or name.startswith("_virtualenv")  # virtualenv's own, with its .pth
    status = os.lstat(path)
    if private or name.endswith(".pth") or not os.path.isfile(path) or os.path.islink(path):
        return False
    return status.st_size > 0


def unshared(site: str, store: str) -> list[str]:
    """Return the files of site-packages that should lie in the store's place and do not.

    A file whose bytes the file system keeps inside its inode (btrfs below 2 KiB) can't be
    shared by a reflink; there it is enough that the store has its content.
    """
    missing = []
    for row in walk(site):
        if is_bytecode(row.path) or not row.is_file(follow_symlinks=False):
            continue
        if is_shareable(row.path) and not in_store(row.path, store):
            missing.append(os.path.relpath(row.path, site))
    return sorted(missing)


def in_store(path: str, store: str) -> bool:
    """Return whether a file shares its data with the store's object of the same content."""
    executable = bool(os.stat(path).st_mode & 0o100)
    digest = file_digest(path)
    objects = [_object(store, digest, executable | writable << 1) for writable in (False, True)]
    there = [stored for stored in objects if os.path.exists(stored)]
    return any(same_place(path, stored) for stored in there) or (bool(there) and is_inline(path))


def is_inline(path: str) -> bool:
    """Tell whether the file system keeps a file's bytes inside its inode."""
    return os.stat(path).st_nlink == 1 and any(extent.inline for extent in extents(path))


def still_shared(tree: str) -> list[str]:
    """Return the files of a tree which share an inode or an extent with another."""
    return sorted(
        os.path.relpath(row.path, tree)
        for row in walk(tree)
        if row.is_file(follow_symlinks=False)
        and (row.stat(follow_symlinks=False).st_nlink > 1 or has_shared_extent(row.path))
    )
