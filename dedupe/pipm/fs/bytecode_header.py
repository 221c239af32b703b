"""The 16 bytes at the head of a ``.pyc``: magic, flags, source mtime, source size (PEP 552)."""

from __future__ import annotations

import os
import stat
import struct

from pipm.core.bytecode import bytecode_mtime_ns
from pipm.core.named_tuple import NamedTuple
from pipm.core.reasons import Reason
from pipm.fs.opened import opened
from pipm.fs.os_errors import stops_everything
from pipm.fs.share_file import LeaveAloneError, NewFile, forget, give_name, set_status, write_new_file
from pipm.fs.xattrs import has_attributes

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIZE = 16
_TIME = slice(8, 12)
_MASK = 0xFFFFFFFF
_HEAD = struct.Struct("<III")
"""Flags, time and size, which follow the magic number."""


class Header(NamedTuple):
    """The new and the old source time (seconds, 32 bits) of a header, and the source's size in bytes."""

    mtime: int
    old_mtime: int
    source_size: int


def own_reason(directory: int, name: str) -> Reason | None:
    """Return why the bytecode *name* must stay in its environment; None if it may be shared."""
    try:
        file = os.open(name, _READ, dir_fd=directory)
    except OSError:
        return Reason.UNREADABLE
    try:  # no context manager, because this runs once for each file
        if has_attributes(file):
            return Reason.ATTRIBUTES
        # A person or a build tool chose hash-based bytecode: it is more than a cache.
        timed = os.pread(file, _SIZE, 0)[4:8] == b"\0\0\0\0"
        return None if timed else Reason.OTHER_BYTECODE
    finally:
        os.close(file)


def believed_bytecode(directory: int, stem: str, mtime: int, size: int) -> list[tuple[str, int]]:
    """List the bytecode of the module *stem* in the open *directory* that Python would load for a source.

    The source has this *mtime* (seconds, 32 bits) and *size*. Returns names with their inodes.
    """
    expected = _HEAD.pack(0, mtime & _MASK, size & _MASK)
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


def patch_time(directory: int, name: str, header: Header, *, whole: bool) -> os.stat_result:
    """Write the new source time into the header of *name*, in place, if it has another one.

    *whole* writes all bytes again: on a copy-on-write file system four new bytes would keep the whole old
    extent allocated. Returns the stat from before. Raises OSError, and LeaveAloneError if the file has other
    names or attributes, or changed since it was checked.
    """
    with opened(_open_to_patch(directory, name, header)) as file:
        return _patch(file, header, whole=whole)


def _open_to_patch(directory: int, name: str, header: Header) -> int:
    access = os.O_RDONLY if header.mtime == header.old_mtime else os.O_RDWR
    return os.open(name, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)


def _patch(file: int, header: Header, *, whole: bool) -> os.stat_result:
    status = os.fstat(file)
    patched = header.mtime != header.old_mtime
    head = os.pread(file, status.st_size if whole and patched else _SIZE, 0)
    if status.st_nlink != 1 or head[4:_SIZE] != _expected(header):
        raise LeaveAloneError(Reason.CHANGING)
    if has_attributes(file):
        raise LeaveAloneError(Reason.ATTRIBUTES)
    time = header.mtime.to_bytes(4, "little")
    if not patched:
        pass
    elif whole:
        os.pwrite(file, head[: _TIME.start] + time + head[_TIME.stop :], 0)
    else:
        os.pwrite(file, time, _TIME.start)
    return status


def give_bytecode(
    bytecode: NewFile, pool: int, name: str, header: Header, mode: int, *, whole: bool
) -> tuple[os.stat_result, bool]:
    """Link *bytecode* into the open *pool* as *name*, with the source time of *header* and *mode*.

    Returns its stat from before, and False if the pool already has that name. Raises the errors of
    `patch_time`, and LeaveAloneError with NO_LINK if no link can be made: the file then has its old mode and
    time, and a header that fits its source.
    """
    with opened(_open_to_patch(bytecode.directory, bytecode.name, header)) as file:
        before = _patch(file, header, whole=whole)
        set_status(file, mode, bytecode_mtime_ns(header.mtime))
        try:
            given = give_name(bytecode, pool, name)
        except OSError as error:
            if not header.source_size:  # an empty source keeps its own time
                _patch(file, Header(header.old_mtime, header.mtime, 0), whole=False)
            set_status(file, stat.S_IMODE(before.st_mode), before.st_mtime_ns)
            if stops_everything(error):
                raise
            raise LeaveAloneError(Reason.NO_LINK) from error
        if given and os.stat(name, dir_fd=pool).st_ino != before.st_ino:
            forget(pool, name)  # another file, which was not checked, has the name now
            raise LeaveAloneError(Reason.CHANGING)
    return before, given


def copy_with_time(directory: int, name: str, new: NewFile, header: Header, mode: int) -> bool:
    """Copy the bytecode *name* to *new* with the source time of *header*; False if its header is another."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(file, "rb") as stream:
        data = stream.read()
    if data[4:_SIZE] != _expected(header):
        return False
    time = header.mtime.to_bytes(4, "little")
    write_new_file(
        new, [data[: _TIME.start], time, data[_TIME.stop :]], mode, bytecode_mtime_ns(header.mtime)
    )
    return True


def with_source_time(data: bytes, time: int) -> bytes | None:
    """Return the bytecode *data* with the source time *time* (seconds); None if it is hash-based."""
    if len(data) < _SIZE or data[4:8] != b"\0\0\0\0":
        return None
    return data[: _TIME.start] + time.to_bytes(4, "little") + data[_TIME.stop :]


def finish(directory: int, name: str, mode: int, time: int) -> None:
    """Set the *mode* of stored bytecode, and the modification time that belongs to *time* in its header."""
    with opened(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)) as file:
        set_status(file, mode, bytecode_mtime_ns(time))


def _expected(header: Header) -> bytes:
    return _HEAD.pack(0, header.old_mtime & _MASK, header.source_size & _MASK)
