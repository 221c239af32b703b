"""Walking a tree without following symlinks, and counting inodes by readdir alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def walk_entries(path: str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield ``(folder relative to the start, entry)`` for all below *path* that is not a folder.

    Folders that cannot be read are passed over; a symlink is an entry, never entered.
    """
    waiting = [(path, prefix)]
    while waiting:  # no recursion, since folders may be nested to any depth
        folder, under = waiting.pop()
        try:
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{under}/{entry.name}" if under else entry.name))
            else:
                yield under, entry


def inode_counts(path: str) -> dict[int, int]:
    """Count how many names each inode below *path* has there; one readdir a folder, no stat."""
    counts: dict[int, int] = {}
    for _, entry in walk_entries(path):
        number = entry.inode()
        counts[number] = counts.get(number, 0) + 1
    return counts


def inodes_below(path: str) -> list[int]:
    """List the inode of each name below *path* except folders; one readdir for each folder, no stat."""
    found: list[int] = []
    waiting = [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as scan:
                for entry in scan:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        found.append(entry.inode())
        except OSError:
            continue
    return found


def named_inodes(path: str, depth: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield ``(name relative to the start, inode)`` of the files that lie *depth* folders below *path*."""
    try:
        with os.scandir(path) as scan:
            entries = [(entry.name, entry.inode()) for entry in scan]
    except OSError:
        return
    for name, inode in entries:
        if depth:
            yield from named_inodes(f"{path}/{name}", depth - 1, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", inode


def names_in(directory: int) -> list[str]:
    """List the names in the open *directory* as it is now.

    btrfs shows through a descriptor only what was there when it was opened (or last rewound): names that
    other processes made since would be missing.
    """
    fresh = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.listdir(fresh)
    finally:
        os.close(fresh)
