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
    try:
        with os.scandir(path) as scan:
            entries = list(scan)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk_entries(entry.path, f"{prefix}/{entry.name}" if prefix else entry.name)
        else:
            yield prefix, entry


def inode_counts(path: str) -> dict[int, int]:
    """Count how many names each inode below *path* has there; one readdir a folder, no stat."""
    counts: dict[int, int] = {}
    for _, entry in walk_entries(path):
        number = entry.inode()
        counts[number] = counts.get(number, 0) + 1
    return counts
