"""Opening paths that come from data: they stay beneath their root and follow no symlink.

Linux has openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS. Elsewhere each component is opened with
O_NOFOLLOW.
Comparing the beginning of a joined path with the root would not be safe (pip's CVE-2026-1703).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from functools import cache

from pipm.fs.trust import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_HOW_SIZE = 24
_FEW = 64
"""The number of opens by steps before the first by openat2: importing ctypes takes as long as all of them."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@cache
def _openat2_call() -> Any | None:  # noqa: ANN401 - ctypes gives no better type
    # The number is the same on all architectures but alpha (it was added after they were unified).
    if sys.platform != "linux" or os.uname().machine == "alpha":
        return None
    import ctypes  # noqa: PLC0415 - short commands open few files

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    call.restype = ctypes.c_long
    return call


NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES})
"""Errors for a path that is missing, leads through a symlink, leaves its root or may not be entered."""

_missing = False
_opens = 0


@cache
def _how(flags: int) -> bytes:
    """Return the kernel's ``struct open_how``: flags, mode and rules for resolving the path."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    return b"".join(number.to_bytes(8, sys.byteorder) for number in (flags | os.O_CLOEXEC, 0, resolve))


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open the relative *path* below the directory *root* without following any symlink.

    Raises OSError: ELOOP or ENOTDIR for a symlink in the path, EXDEV for an absolute path or a path with
    ``..``, ENOENT for an empty path or a path with a NUL byte.
    """
    global _missing, _opens  # noqa: PLW0603 - one failed call is enough on an old kernel
    if "\0" in path:  # the kernel would open the part before the NUL byte
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if ".." in path and ".." in path.split("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    _opens += 1
    call = None if _missing or _opens <= _FEW else _openat2_call()
    if call is None:
        return _open_by_steps(root, path, flags)
    file: int = call(_SYS_OPENAT2, root, os.fsencode(path), _how(flags), _HOW_SIZE)
    if file >= 0:
        return file
    from ctypes import get_errno  # noqa: PLC0415 - imported already

    number = get_errno()
    if number in (
        errno.ENOSYS,
        errno.EPERM,
    ):  # Linux before 5.6, or a seccomp filter that does not know the call
        _missing = True
        return _open_by_steps(root, path, flags)
    raise OSError(number, os.strerror(number), path)


def open_directory_beneath(root: int, path: str) -> int:
    """Open the directory *path* (may be empty or ``.``) below *root*."""
    return open_beneath(root, path or ".", _DIRECTORY)


LARGEST = 64 << 20
"""The most bytes that are read of a file; the largest RECORD of a real wheel has 3 MiB."""


def read_beneath(root: int, path: str, *, ours: bool = False) -> bytes | None:
    """Read the regular file *path* below *root*; return None if it is missing or cannot be read.

    Another user may have put a pipe or an endless file there, so only a regular file of at most `LARGEST`
    bytes is read. With *ours*, a file that another user can change is not read either.
    """
    try:
        file = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    return _read(file, ours=ours)


def read_file(path: str) -> bytes | None:
    """Read the file at *path* as `read_beneath` does; None for a symbolic link."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    return _read(file, ours=False)


def _read(file: int, *, ours: bool) -> bytes | None:
    with open(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST or (ours and is_foreign(status)):
            return None
        try:
            data = stream.read(LARGEST + 1)
        except OSError:  # EIO
            return None
    return data if len(data) <= LARGEST else None


def status_beneath(directory: int, path: str) -> os.stat_result | None:
    """Stat *path* below the open *directory*, without following a symlink; return None if it is missing."""
    try:
        return os.stat(path, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_there(directory: int, path: str) -> bool:
    """Return whether *path* exists below the open *directory*; a broken symlink exists."""
    return status_beneath(directory, path) is not None


@contextlib.contextmanager
def directory_beneath(root: int, path: str) -> Iterator[int | None]:
    """Open the directory *path* below *root* for a with block; yield None if it cannot be entered."""
    try:
        folder = open_directory_beneath(root, path)
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
        yield None
        return
    try:
        yield folder
    finally:
        os.close(folder)


def _open_by_steps(root: int, path: str, flags: int) -> int:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not parts:
        return os.open(".", flags | os.O_CLOEXEC, dir_fd=root)
    if path.endswith(("/", "/.")):
        flags |= os.O_DIRECTORY
    step = root
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=step)
            if step != root:
                os.close(step)
            step = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=step)
    finally:
        if step != root:
            os.close(step)
