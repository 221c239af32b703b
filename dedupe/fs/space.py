"""Free space, file system types, and what metadata cost that no stat tells."""

from __future__ import annotations

import os
from typing import NamedTuple

_XFS_INODE = 512
"""Bytes of an XFS inode (mkfs.xfs(8), ``-i size``); XFS makes and frees them as needed."""
_BTRFS_INODE = 1000
"""Bytes that an inode with its name, extent and checksum items takes in btrfs's trees, both copies of
DUP metadata together; measured by `benchmarks/`."""


class Free(NamedTuple):
    """What a file system has left for us: bytes, and inodes (None where it makes them as needed)."""

    size: int
    inodes: int | None


def free_space(path: str) -> Free:
    """Ask the file system of *path* (statvfs(3))."""
    answer = os.statvfs(path)
    return Free(answer.f_bavail * answer.f_frsize, answer.f_favail if answer.f_files else None)


def file_system_type(path: str) -> str:
    """Name the type of the file system that *path* lies on: ``ext4``, ``xfs``, ``overlay`` …; or ``""``."""
    import psutil  # noqa: PLC0415 - 10 ms that most commands need not pay

    real = os.path.realpath(path)
    best, kind = "", ""
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint.rstrip("/")
        if (real == mount or real.startswith(f"{mount}/")) and len(mount) >= len(best):
            best, kind = mount, partition.fstype
    return kind


def metadata_bytes(kind: str, inodes: int) -> int:
    """Bytes that *inodes* more (or, negative, fewer) inodes take outside any file's blocks.

    ext4 has its inodes since mkfs; XFS and btrfs make them as needed and give them back.
    """
    match kind:
        case "xfs":
            return inodes * _XFS_INODE
        case "btrfs":
            return inodes * _BTRFS_INODE
    return 0
