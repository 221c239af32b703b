"""Reflinks: FICLONE, FIDEDUPERANGE and FIEMAP on Linux, clonefile on macOS.

ioctl_ficlone(2), ioctl_fideduperange(2), Documentation/filesystems/fiemap.rst; clonefile(2). The code for
macOS follows the manual page and was never run.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys

from pipm.core.named_tuple import NamedTuple
from pipm.fs.compression import compressed_sizes
from pipm.fs.opened import created

_FICLONE = 0x40049409
_FIDEDUPERANGE = 0xC0189436
_FIEMAP = 0xC020660B

_RANGE_SAME = 0
_RANGE_DIFFERS = 1
_DEDUPE_STEP = 1 << 30
_DEDUPE = struct.Struct("=QQHHIqQQiI")

_FIEMAP_SYNC = 1
_FIEMAP_HEADER = struct.Struct("=QQLLLL")
_FIEMAP_EXTENT = struct.Struct("=QQQQQLLLL")
_EXTENTS_A_CALL = 32
_EXTENT_LAST = 0x1
_EXTENT_UNKNOWN = 0x2
_EXTENT_DELAYED = 0x4
_EXTENT_ENCODED = 0x8
_EXTENT_INLINE = 0x200
_EXTENT_SHARED = 0x2000


def clone_into(source: int, directory: int, name: str, mode: int) -> None:
    """Make *name* in *directory* a new file that shares the blocks of the open file *source*.

    The new file has exactly *mode*, independent of the umask, and the current time. Raises OSError; the new
    file is removed then (FICLONE leaves an empty one, coreutils #56).
    """
    if sys.platform == "darwin":
        _clonefile(source, directory, name)
        os.chmod(name, mode, dir_fd=directory)
        return
    with created(directory, name) as target:
        fcntl.ioctl(target, _FICLONE, source)
        os.fchmod(target, mode)


def clone_contents(source: int, target: int) -> None:
    """Let the new and empty file *target*, open for writing, share all blocks of *source*; raises OSError."""
    fcntl.ioctl(target, _FICLONE, source)


def _clonefile(source: int, directory: int, name: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.fclonefileat(source, directory, os.fsencode(name), 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def dedupe(source: int, target: int, size: int) -> bool:
    """Let the file *target* share the blocks of *source* if the first *size* bytes are equal.

    The kernel compares and shares while it holds the locks of both inodes. *target* may be open only for
    reading; it keeps its inode and all metadata. Returns False if they differ; an equal beginning may be
    shared then. True does not prove that blocks are shared (see `extents`). Raises OSError.
    """
    offset = 0
    while offset < size:
        length = min(size - offset, _DEDUPE_STEP)
        request = bytearray(_DEDUPE.pack(offset, length, 1, 0, 0, target, offset, 0, 0, 0))
        fcntl.ioctl(source, _FIDEDUPERANGE, request)
        *_, done, status, _reserved = _DEDUPE.unpack(request)
        if status == _RANGE_DIFFERS:
            return False
        if status != _RANGE_SAME:
            raise OSError(-status, os.strerror(-status))
        if not done:  # neither progress nor an error: do not loop for ever
            raise OSError(errno.EINVAL, "the kernel shared nothing")
        offset += done
    return True


class Extent(NamedTuple):
    """A run of a file's blocks on the device, in bytes.

    An ``encoded`` extent is compressed; its ``length`` is the unpacked size. ``stored`` is the size on the
    disk, None if this user may not read it.
    """

    logical: int
    physical: int
    length: int
    shared: bool
    inline: bool
    allocated: bool
    """False if the place is delayed or unknown."""
    encoded: bool = False
    stored: int | None = None

    @property
    def size(self) -> int:
        """The bytes on the disk; an upper limit if they are unknown."""
        return self.length if self.stored is None else self.stored


def extents(file: int, *, sync: bool = False) -> list[Extent]:
    """List the extents of the open *file*; [] if the file system cannot list them.

    Raises OSError for errors other than "not supported".
    """
    found = _mapped(file, sync=sync)
    if not any(extent.encoded for extent in found):
        return found
    sizes = compressed_sizes(file)
    return [
        extent._replace(stored=sizes.get(extent.physical)) if extent.encoded else extent for extent in found
    ]


def _mapped(file: int, *, sync: bool) -> list[Extent]:
    """List extents by FIEMAP, which does not give the compressed size."""
    found: list[Extent] = []
    start = 0
    while True:
        flags = _FIEMAP_SYNC if sync else 0
        buffer = bytearray(_FIEMAP_HEADER.size + _EXTENTS_A_CALL * _FIEMAP_EXTENT.size)
        _FIEMAP_HEADER.pack_into(buffer, 0, start, (1 << 64) - 1 - start, flags, 0, _EXTENTS_A_CALL, 0)
        try:
            fcntl.ioctl(file, _FIEMAP, buffer)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EBADR):
                return []
            raise
        count = _FIEMAP_HEADER.unpack_from(buffer)[3]
        if not count:
            return found
        for position in range(count):
            logical, physical, length, _, _, bits, *_rest = _FIEMAP_EXTENT.unpack_from(
                buffer, _FIEMAP_HEADER.size + position * _FIEMAP_EXTENT.size
            )
            inline = bool(bits & _EXTENT_INLINE)
            allocated = not bits & (_EXTENT_DELAYED | _EXTENT_UNKNOWN)
            encoded = bool(bits & _EXTENT_ENCODED) and not inline
            shared, stored = bool(bits & _EXTENT_SHARED), None if encoded else length
            found.append(Extent(logical, physical, length, shared, inline, allocated, encoded, stored))
            start = logical + length
            if bits & _EXTENT_LAST:
                return found
