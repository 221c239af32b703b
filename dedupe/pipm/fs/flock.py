"""Locks by flock(2) on files that are never deleted, opened without truncating or following links."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from pipm.errors import BusyError
from pipm.fs.opened import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.25


@contextlib.contextmanager
def locked(
    path: str,
    *,
    what: str,
    shared: bool = False,
    create: bool = True,
    timeout: float = 60.0,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Hold the lock on *path* (made when missing and *create*) and yield its descriptor.

    Waits at most *timeout* seconds, then raises BusyError; calls *waiting* once if it must wait.
    A file system without flock raises BusyError as well: going on unlocked could lose data.
    """
    with opened(_open(path, os.O_CREAT if create else 0)) as file:
        _acquire(file, what, shared=shared, timeout=timeout, waiting=waiting)
        yield file


@contextlib.contextmanager
def locked_folder(folder: int) -> Iterator[None]:
    """Hold the exclusive lock on the open *folder*; waits without a timeout."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def lock_refusal(path: str) -> str:
    """Try the lock on the existing file *path* for a moment; returns why it cannot be locked, or nothing."""
    try:
        with opened(_open(path, 0)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        held = error.errno in (errno.EWOULDBLOCK, errno.EACCES)  # somebody's work: so locks do work
        return "" if held else error.strerror or str(error)
    return ""


def try_lock(file: int) -> bool:
    """Take the exclusive lock on the open *file* (or directory) without waiting."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _open(path: str, create: int) -> int:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # NFS wants a writable descriptor for an exclusive lock (uv #18061).
        return os.open(path, os.O_RDWR | create | flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | flags)


def _acquire(
    file: int,
    what: str,
    *,
    shared: bool,
    timeout: float,
    waiting: Callable[[str], None] | None,
) -> None:
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + timeout
    pause = _FIRST_WAIT
    while True:
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise BusyError(
                    f"Cannot lock {what}: {error.strerror}",
                    hint="its file system has no flock; keep it on a local disk",
                ) from error
        else:
            return
        if time.monotonic() >= deadline:
            raise BusyError(
                f"Another process has been working on {what} for {timeout:.0f} s",
                hint="wait for it, or raise PIPM_LOCK_TIMEOUT (seconds)",
            )
        if pause == _FIRST_WAIT and waiting is not None:
            waiting(what)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT)
