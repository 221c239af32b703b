"""The places of a file's data on the disk (FIEMAP), and reflinks (FICLONE)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import time
from dataclasses import dataclass

from support.snapshot import walk

_FS_IOC_FIEMAP = 0xC020660B
_FICLONE = 0x40049409
_FLAG_SYNC = 0x1
_HEADER = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQQQLLLL")
_ROWS = 256
_LAST, _INLINE, _SHARED = 0x1, 0x200, 0x2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """A run of a file's bytes on the disk."""

    physical: int
    length: int
    shared: bool
    inline: bool


def extents(path: str) -> list[Extent]:
    """Return a file's extents."""
    found: list[Extent] = []
    start, last = 0, False
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while not last:
            buffer = bytearray(_HEADER.size + _ROWS * _EXTENT.size)
            _HEADER.pack_into(buffer, 0, start, 2**64 - 1 - start, _FLAG_SYNC, 0, _ROWS, 0)
            fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, buffer)
            count = _HEADER.unpack_from(buffer)[3]
            for row in range(count):
                fields = _EXTENT.unpack_from(buffer, _HEADER.size + row * _EXTENT.size)
                logical, physical, length, flags = *fields[:3], fields[5]
                found.append(
                    Extent(
                        physical=physical,
                        length=length,
                        shared=bool(flags & _SHARED),
                        inline=bool(flags & _INLINE),
                    )
                )
                start, last = logical + length, bool(flags & _LAST)
            last = last or count == 0
    finally:
        os.close(descriptor)
    return found


def has_shared_extent(path: str) -> bool:
    """Tell whether some bytes of this file lie where another file's lie, too."""
    return any(extent.shared for extent in extents(path))


def same_place(path: str, other: str) -> bool:
    """Return whether two names share data on the disk: one inode, or the same extents."""
    if os.path.samestat(os.lstat(path), os.lstat(other)):
        return True
    mine, theirs = extents(path), extents(other)
    places = [(extent.physical, extent.length) for extent in mine]
    return (
        bool(places)
        and not any(extent.inline for extent in mine)
        and places == [(extent.physical, extent.length) for extent in theirs]
    )


def blocks(tree: str, *, size: int = 4096) -> set[int]:
    """Return the numbers of the disk's blocks that a tree's files occupy."""
    found: set[int] = set()
    for row in walk(tree):
        if row.is_file(follow_symlinks=False):
            for extent in extents(row.path):
                if not extent.inline:
                    start, end = extent.physical, extent.physical + extent.length
                    found.update(range(start // size, -(-end // size)))
    return found


def clone(source: str, target: str) -> None:
    """Make a reflink copy."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())


def sync_file_system(path: str) -> None:
    """Write out everything that the path's file system still holds in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs", path)
    finally:
        os.close(descriptor)


def free_bytes(path: str) -> int:
    """Return the file system's free space, once it stands still after a sync.

    XFS gives inodes back in the background and btrfs drops extents at the next commit; so two
    readings a moment apart must agree.
    """
    previous = -1
    for _ in range(40):
        sync_file_system(path)
        status = os.statvfs(path)
        if status.f_bfree == previous:
            return previous * status.f_frsize
        previous = status.f_bfree
        time.sleep(0.25)
    raise AssertionError(f"the free space of {path} does not stand still")
