"""Free space, mounts, and the bytes of metadata that stat(2) does not show."""

from __future__ import annotations

import os
import re
import time

from pipm.core.named_tuple import NamedTuple
from pipm.fs.durability import sync_file_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.disk_usage import Accounting

_REFLINKS = frozenset({"xfs", "btrfs", "bcachefs", "ocfs2"})


class Free(NamedTuple):
    """Free bytes and inodes of a file system (None if it makes inodes as needed)."""

    size: int
    inodes: int | None


def free_space(path: str | int) -> Free:
    """Return the free space of the file system of *path*, a path or an open file (statvfs(3))."""
    answer = os.statvfs(path)
    return Free(answer.f_bavail * answer.f_frsize, answer.f_favail if answer.f_files else None)


_PAUSE = 0.05
_LONGEST = 2.0
"""Seconds after which a file system counts as in use by other programs."""


def stable_free_space(file: int) -> int | None:
    """Wait until the free bytes of the file system of *file* no longer change, and return them.

    Returns None if another process keeps writing.
    """
    previous = -1
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end:
        sync_file_system(file)
        answer = os.fstatvfs(file)
        if answer.f_bfree == previous:
            return previous * answer.f_frsize
        previous = answer.f_bfree
        time.sleep(_PAUSE)
    return None


class Mount(NamedTuple):
    """A mounted file system: its place, its type (``ext4``, ``xfs``, ``overlay`` …) and its options."""

    path: str
    kind: str
    options: tuple[str, ...]


def mount_of(path: str) -> Mount:
    """Return the mount that *path* lies on; it has no type on a system without ``/proc`` (macOS)."""
    real = f"{os.path.realpath(path)}/"
    best = Mount("/", "", ())
    for mount in _mounts():
        if real.startswith(f"{mount.path.rstrip('/')}/") and len(mount.path) >= len(best.path):
            best = mount
    return best


def mounted_below(path: str) -> frozenset[str]:
    """Return the files of other file systems that are mounted below the folder *path*, relative to it."""
    above = os.path.realpath(path)
    return frozenset(
        f"{folder}/{name}".removeprefix(f"{above}/")
        for place in mount_points_below(path)
        for folder, _, names in os.walk(f"{above}/{place}")
        for name in names
    )


def mount_points_below(path: str) -> frozenset[str]:
    """Return the mount points below *path*, relative to it; bind mounts are mounts, too."""
    above = f"{os.path.realpath(path)}/"
    return frozenset(mount.path.removeprefix(above) for mount in _mounts() if mount.path.startswith(above))


def _mounts() -> Iterator[Mount]:
    try:
        with open("/proc/self/mounts", "rb") as stream:
            rows = [line.split(b" ") for line in stream.read().splitlines()]
    except OSError:
        rows = []
    for _, where, kind, options, *_ in rows:
        # proc(5): blanks and similar characters are octal escapes.
        place = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), where))
        yield Mount(place, kind.decode(), tuple(options.decode().split(",")))


def file_system_type(path: str) -> str:
    """Return the type of the file system of *path*: ``ext4``, ``xfs``, ``overlay`` …; ``""`` if unknown."""
    return mount_of(path).kind


def accounting(kind: str) -> Accounting:
    """Return the bytes of metadata that a file system of type *kind* uses for a file.

    The figures are changes of statvfs(3) for 20 000 files. ext4 allocates all inodes at mkfs. XFS allocates
    them in chunks of 64 and frees only empty chunks, so removing scattered files frees no inodes. btrfs keeps
    inodes, names and small files in trees; both copies are counted.
    """
    from pipm.core.disk_usage import Accounting  # noqa: PLC0415 - few commands count bytes

    match kind:
        case "xfs":
            return Accounting(made=512, chunk=64, whole=512)
        case "btrfs":
            return Accounting(
                made=700,
                gone=650,
                name=650,
                entry=500,
                reference=280,
                extent=330,
                inline=2048,
                whole=690,
                letter=10,
            )
    return Accounting()


def has_reflinks(kind: str) -> bool:
    """Return whether a file system of type *kind* usually has reflinks; only a trial is sure."""
    return kind in _REFLINKS
