"""Private copies of an environment's files that keep all metadata: owner, attributes, ACL, flags, holes.

A copy has the metadata of the file, and not the setgid bit, default ACL or flags of the temporary folder. If
the copy cannot have all of it, the file is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys

from pipm.core.named_tuple import NamedTuple
from pipm.core.reasons import Reason
from pipm.fs.opened import opened
from pipm.fs.os_errors import stops_everything
from pipm.fs.share_file import LeaveAloneError

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = 1 << 20
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_FLAGS = struct.Struct("=l4x")
_PROTECTED = 0x10 | 0x20
"""Immutable and append-only (ioctl_iflags(2)): rename(2) over such a file fails."""
_KEPT = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x400 | 0x4000 | 0x800000
"""Flags that a person sets by chattr(1) and that a copy can have: s u c S d A, no compression, j, C."""
_ACL = "system.posix_acl_access"
_LABEL = "security.selinux"
_BLOCK = 512
"""Bytes that `os.stat_result.st_blocks` counts."""
_MASK = 0xFFFFFFFF


class FileMetadata(NamedTuple):
    """The wanted metadata of a private copy: mode, owner, group and time.

    None for ``owner`` and ``group`` keeps those of the file. For bytecode, ``source`` has the old and the new
    time (in seconds) of its source: the copy of a header with the old time gets the new one.
    """

    mode: int
    owner: int | None
    group: int | None
    mtime_ns: int
    source: tuple[int, int] | None = None


class _InheritedMetadata(NamedTuple):
    """The metadata that new files in a folder get: flags, owner, group, attributes."""

    flags: int
    owner: int
    group: int
    attributes: dict[str, bytes]


class PrivateCopies:
    """Makes private copies in the open folder *directory*.

    All new files in one folder get the same metadata from the folder, the user and the mount. So the metadata
    of a new file is read only once.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._new: _InheritedMetadata | None = None

    def make(self, file: int, status: os.stat_result, name: str, wanted: FileMetadata) -> None:
        """Make *name* a private copy of the open *file* of *status*, with *wanted* and all other metadata.

        Nothing is synced. Raises LeaveAloneError where the copy could not have all of it, OSError where the
        disk is full or broken; no copy is left then.
        """
        flags = _flags(file)
        if flags & _PROTECTED:
            raise LeaveAloneError(Reason.PROTECTED)
        target = os.open(name, _NEW, 0o600, dir_fd=self._directory)
        try:
            new = self._new = self._new or _new_file(target)
            if (flags ^ new.flags) & _KEPT:  # before there is data: NOCOW is for empty files
                fcntl.ioctl(target, _SETFLAGS, _FLAGS.pack((new.flags & ~_KEPT) | (flags & _KEPT)))
            _copy_data(file, status, target, wanted.source)
            _copy_metadata(file, status, target, new, wanted)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._directory)
            if isinstance(error, OSError) and not stops_everything(error):
                raise LeaveAloneError(Reason.METADATA) from error
            raise
        finally:
            os.close(target)


def _new_file(file: int) -> _InheritedMetadata:
    status = os.fstat(file)
    return _InheritedMetadata(_flags(file), status.st_uid, status.st_gid, _attributes(file))


def set_metadata(directory: int, name: str, wanted: FileMetadata) -> None:
    """Set mode, group and time of the regular file *name* in *directory*; its inode has no other name."""
    with opened(
        os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    ) as file:
        status = os.fstat(file)
        if wanted.group is not None and wanted.group != status.st_gid:
            os.fchown(file, -1, wanted.group)
        if status.st_mode & 0o7777 != wanted.mode:
            os.fchmod(file, wanted.mode)
        os.utime(file, ns=(status.st_atime_ns, wanted.mtime_ns))


def _copy_data(file: int, status: os.stat_result, target: int, source: tuple[int, int] | None) -> None:
    """Copy the data of *file* by reads and writes, so that no blocks are shared; holes stay holes."""
    size = status.st_size
    if size <= min(status.st_blocks * _BLOCK, _STEP):  # no hole, or too small a file
        _copy_range(file, target, 0, size, source)
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # the rest is one hole
                break
            start, end = position, size  # the file system has no holes
        else:
            end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        _copy_range(file, target, start, end, source)
        position = end
    os.ftruncate(target, size)


def _copy_range(file: int, target: int, start: int, end: int, source: tuple[int, int] | None) -> None:
    while start < end:
        data = os.pread(file, min(end - start, _STEP), start)
        if not data:
            raise LeaveAloneError(Reason.CHANGING)  # another process truncated it
        if source is not None and not start:
            data = _fit_header(data, *source)
        chunk = memoryview(data)
        while chunk:
            written = os.pwrite(target, chunk, start)
            chunk = chunk[written:]
            start += written


def _fit_header(data: bytes, old: int, new: int) -> bytes:
    if data[4:12] != bytes(4) + (old & _MASK).to_bytes(4, "little"):
        return data
    return data[:8] + (new & _MASK).to_bytes(4, "little") + data[12:]


def _copy_metadata(
    file: int, status: os.stat_result, target: int, new: _InheritedMetadata, wanted: FileMetadata
) -> None:
    owner = status.st_uid if wanted.owner is None else wanted.owner
    group = status.st_gid if wanted.group is None else wanted.group
    if (new.owner, new.group) != (owner, group):
        os.fchown(target, owner, group)
    mode = wanted.mode
    if _copy_attributes(file, target, new.attributes):  # with an ACL, the group's bits are its mask
        mode = (mode & ~0o070) | (status.st_mode & 0o070)
    os.fchmod(target, mode)
    os.utime(target, ns=(status.st_atime_ns, wanted.mtime_ns))


def _copy_attributes(file: int, target: int, made: dict[str, bytes]) -> bool:
    """Replace the attributes *made* of *target* by those of *file*; return whether there is an ACL."""
    wanted = _attributes(file)
    for name in made.keys() - wanted.keys() - {_LABEL}:
        os.removexattr(target, name)
    for name, value in wanted.items():
        if made.get(name) != value:
            os.setxattr(target, name, value)
    return _ACL in wanted


def _attributes(file: int) -> dict[str, bytes]:
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = os.listxattr(file)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}
        raise
    found = {}
    for name in names:
        try:
            found[name] = os.getxattr(file, name)
        except OSError as error:
            if error.errno != errno.ENODATA:  # btrfs lists properties that a file does not have
                raise
    return found


def _flags(file: int) -> int:
    if sys.platform != "linux":
        return 0
    buffer = bytearray(_FLAGS.size)
    try:
        fcntl.ioctl(file, _GETFLAGS, buffer)
    except OSError:  # a file system without flags
        return 0
    flags: int = _FLAGS.unpack(buffer)[0]
    return flags
