"""The 16 bytes at the head of a ``.pyc``: magic, flags, source mtime, source size (PEP 552)."""

from __future__ import annotations

import os
from typing import NamedTuple

from pipm.core.reasons import Reason
from pipm.fs.share import LeaveAloneError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIZE = 16
_TIME = slice(8, 12)
_MASK = 0xFFFFFFFF


class Header(NamedTuple):
    """The times in seconds that a header shall have and has, and the source's size in bytes."""

    mtime: int
    old_mtime: int
    source_size: int


def is_timestamp_bytecode(directory: int, name: str) -> bool:
    """Whether *name* is checked by its source's time and size, as ordinary bytecode is.

    A hash-checked or unchecked one was made so on purpose (or by a build tool) and is no mere cache.
    """
    try:
        file = os.open(name, _READ, dir_fd=directory)
    except OSError:
        return False
    try:
        head = os.read(file, _SIZE)
    finally:
        os.close(file)
    return head[4:8] == b"\0\0\0\0"


def believed_bytecode(directory: int, stem: str, mtime: int, size: int) -> list[tuple[str, int]]:
    """List bytecode of the module *stem* in the open *directory* that Python takes for a source's.

    The source has this *mtime* (s) and *size*; returns names with their inodes.
    """
    expected = b"".join((number & _MASK).to_bytes(4, "little") for number in (0, mtime, size))
    found = []
    for name in os.listdir(directory):
        if name.startswith(f"{stem}.") and name.endswith(".pyc"):
            try:
                file = os.open(
                    name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
                )
            except OSError:
                continue
            try:
                if os.read(file, _SIZE)[4:] == expected:
                    found.append((name, os.fstat(file).st_ino))
            finally:
                os.close(file)
    return found


def patch_time(directory: int, name: str, header: Header, *, mode: int, whole: bool) -> os.stat_result:
    """Set the source time in the header of *name*, in place, and its own mtime and *mode*.

    *whole* writes all bytes again: on a copy-on-write file system four new bytes would keep the old
    extent allocated as a whole. Returns the stat before. Raises OSError, and LeaveAloneError when the file
    has other names or is not what was checked.
    """
    file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(file)
        head = os.pread(file, status.st_size if whole else _SIZE, 0)
        expected = b"".join(
            (number & _MASK).to_bytes(4, "little") for number in (0, header.old_mtime, header.source_size)
        )
        fits = header.mtime == header.old_mtime  # an earlier store's: whoever shares it may keep it
        if (status.st_nlink != 1 and not fits) or head[4:_SIZE] != expected:
            raise LeaveAloneError(Reason.CHANGING)
        time = (header.mtime & _MASK).to_bytes(4, "little")
        if fits:
            pass
        elif whole:
            os.pwrite(file, head[: _TIME.start] + time + head[_TIME.stop :], 0)
        else:
            os.pwrite(file, time, _TIME.start)
        _finish(file, mode, header.mtime)
    finally:
        os.close(file)
    return status


def finish(directory: int, name: str, mode: int, mtime: int) -> None:
    """Give newly written bytecode its *mode* and *mtime* (seconds)."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        _finish(file, mode, mtime)
    finally:
        os.close(file)


def _finish(file: int, mode: int, mtime: int) -> None:
    os.fchmod(file, mode)
    os.utime(file, (mtime, mtime))
