"""Measuring bytes on disk: each inode once, each extent once.

Hard links are told apart by inode sets; reflinks by FIEMAP, where the file system has them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from dedupe.core.usage import DiskUsage
from dedupe.fs.clone import extents
from dedupe.fs.space import file_system_type, has_reflinks
from dedupe.fs.walk import walk_entries


@dataclass(frozen=True, slots=True)
class Blocks:
    """What trees occupy: bytes by (device, inode), and of shared extents by (device, place)."""

    inodes: dict[tuple[int, int], int] = field(default_factory=dict)
    extents: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes, everything once."""
        return sum(self.inodes.values()) + sum(self.extents.values())

    def add(self, other: Blocks) -> None:
        """Include the blocks of *other*."""
        self.inodes.update(other.inodes)
        self.extents.update(other.extents)


class Measured(NamedTuple):
    """A tree's usage, and what it occupies, to be united with other trees'."""

    usage: DiskUsage
    blocks: Blocks


@dataclass(slots=True)
class _Names:
    """An inode's links, how many of them the tree has, and the bytes that only it uses."""

    links: int
    here: int
    unshared: int


def measure(path: str) -> Measured:
    """Measure the tree at *path*, its folders included; reads no content."""
    reflinks = has_reflinks(file_system_type(path))
    blocks = Blocks()
    names: dict[tuple[int, int], _Names] = {}
    folders = {path}
    apparent = files = 0
    for folder, entry in walk_entries(path):
        if folder:
            _add_with_parents(folders, path, folder)
        status = entry.stat(follow_symlinks=False)
        files += 1
        apparent += status.st_size
        key = (status.st_dev, status.st_ino)
        known = names.get(key)
        if known is not None:
            known.here += 1
            continue
        shared = _shared_extents(entry.path) if reflinks and status.st_blocks else {}
        unshared = max(status.st_blocks * 512 - sum(shared.values()), 0)
        blocks.inodes[key] = unshared
        blocks.extents.update({(status.st_dev, place): size for place, size in shared.items()})
        names[key] = _Names(status.st_nlink, 1, unshared)
    own = 0
    for folder in folders:
        status = os.lstat(folder)
        blocks.inodes[status.st_dev, status.st_ino] = status.st_blocks * 512
        own += status.st_blocks * 512
    exclusive = own + sum(inode.unshared for inode in names.values() if inode.here >= inode.links)
    usage = DiskUsage(apparent=apparent, on_disk=blocks.total, exclusive=exclusive, files=files)
    return Measured(usage, blocks)


def block_sizes(path: str) -> dict[int, int]:
    """Bytes of blocks by inode of all below *path*, its folders and itself included."""
    sizes = {os.lstat(path).st_ino: os.lstat(path).st_blocks * 512}
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as scan:
            for entry in scan:
                status = entry.stat(follow_symlinks=False)
                sizes[status.st_ino] = status.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return sizes


def _add_with_parents(folders: set[str], path: str, folder: str) -> None:
    while folder and f"{path}/{folder}" not in folders:
        folders.add(f"{path}/{folder}")
        folder = folder.rpartition("/")[0]


def _shared_extents(path: str) -> dict[int, int]:
    """Bytes by physical place of the extents that *path* shares with other files."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        return {extent.physical: extent.length for extent in extents(file) if extent.shared}
    finally:
        os.close(file)
