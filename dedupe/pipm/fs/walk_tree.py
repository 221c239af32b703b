"""Walking a tree without following symlinks, and counting inodes by readdir without stat."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def walk_entries(path: str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield ``(folder relative to the start, entry)`` for all files and symlinks below *path*.

    Folders that cannot be read are skipped.
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
    """Return the number of names of each inode below *path*; one readdir for each folder, no stat."""
    counts: dict[int, int] = {}
    for _, entry in walk_entries(path):
        number = entry.inode()
        counts[number] = counts.get(number, 0) + 1
    return counts


def inodes_below(path: str) -> list[int]:
    """List the inode of each name below *path*, without folders; one readdir for each folder, no stat."""
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
    """Yield ``(name relative to the start, inode)`` of the files *depth* folders below *path*."""
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
    """List the current names in the open *directory*.

    On btrfs a descriptor shows only the names from the time when it was opened (or rewound); later names of
    other processes would be missing. So the directory is opened again.
    """
    fresh = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.listdir(fresh)
    finally:
        os.close(fresh)
