"""Hashing and comparing whole files."""

from __future__ import annotations

import os

from pipm.core.digest import digest_of
from pipm.fs.opened import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.digest import Digest

_WHOLE = 1 << 20
_CHUNK = 1 << 18
"""Two chunks fit into the processor's second-level cache while they are compared."""
_READAHEAD = 128 * 1024
"""The kernel limits one WILLNEED to the device's readahead window; so each request is of this size."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest_file(file: int, size: int) -> Digest:
    """Return the digest of the open *file* of *size* bytes, read from the current position."""
    return digest_of([read_all(file, size)] if size <= _WHOLE else _chunks(file))


def digest_at(directory: int, name: str) -> Digest:
    """Return the digest of the file *name* in *directory*; OSError where it cannot be read."""
    with opened(os.open(name, _READ, dir_fd=directory)) as file:
        return digest_file(file, os.fstat(file).st_size)


def read_all(file: int, size: int) -> bytes:
    """Read the open *file*, expected to have *size* bytes, to its end."""
    data = os.read(file, size + 1)
    if len(data) == size:
        return data
    return data + b"".join(_chunks(file))


def same_bytes(one: int, other: int, size: int) -> bool:
    """Return whether two open files have the same bytes; both have *size* bytes by their stat."""
    if size <= _CHUNK:
        return os.read(one, size + 1) == os.read(other, size + 1)
    while True:
        mine, yours = os.read(one, _CHUNK), os.read(other, _CHUNK)
        if mine != yours:
            return False
        if not mine:
            return True


def prefetch(directory: int, names: list[str]) -> None:
    """Ask the kernel to read the files *names* of *directory* in the background, unless the first is cached.

    Without this, reading waits for each block, and the kernel's comparison for FIDEDUPERANGE still longer.
    """
    if not names or not hasattr(os, "posix_fadvise") or is_cached(directory, names[0]):
        return
    for name in names:
        try:
            file = os.open(name, _READ, dir_fd=directory)
        except OSError:
            continue
        try:
            for offset in range(0, os.fstat(file).st_size, _READAHEAD):
                os.posix_fadvise(file, offset, _READAHEAD, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def is_cached(directory: int, name: str) -> bool:
    """Return whether the beginning of a file is in memory (preadv2(2), RWF_NOWAIT)."""
    try:
        file = os.open(name, _READ, dir_fd=directory)
    except OSError:
        return True
    try:
        return os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT) >= 0
    except BlockingIOError:
        return False
    except OSError:  # the file system does not support the question
        return True
    finally:
        os.close(file)


def _chunks(file: int) -> Iterator[bytes]:
    while chunk := os.read(file, _CHUNK):
        yield chunk


_PROGRAMS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""The first bytes of machine programs: ELF, Mach-O, and Mach-O for several machines."""


def is_program(path: str, directory: int | None = None) -> bool:
    """Return whether *path* (in the open *directory*) is a machine program, and no symlink."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return os.read(file, 4) in _PROGRAMS
    except OSError:
        return False
    finally:
        os.close(file)
