"""Locks by flock(2) on files that are never deleted, opened without truncating or following links."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

from pipm.errors import BusyError, StoreError
from pipm.fs.opened import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.25
_TOLD_AT = 0.08
"""Seconds of the pause between two tries from which the user is told about the wait."""
_MOST_NAMED = 3


class _Waits:
    """The function that tells the user about a wait; a library has none."""

    tell: Callable[[str], None] | None = None


def announce_waits(tell: Callable[[str], None]) -> None:
    """Call *tell* with a sentence for each lock that this process waits for longer than a moment."""
    _Waits.tell = tell


def lock_timeout() -> float:
    """Return the seconds to wait for a lock: ``PIPM_LOCK_TIMEOUT``, else 300."""
    text = os.environ.get("PIPM_LOCK_TIMEOUT", "")
    try:
        seconds = float(text) if text else 300.0
        if seconds != seconds:  # noqa: PLR0124 - NaN; importing math takes longer
            raise ValueError  # noqa: TRY301 - the same message as for text
    except ValueError:
        raise StoreError(
            f"PIPM_LOCK_TIMEOUT is {text!r}, not a number of seconds",
            hint="unset PIPM_LOCK_TIMEOUT",
        ) from None
    return seconds


@contextlib.contextmanager
def locked(
    path: str,
    *,
    what: str,
    shared: bool = False,
    create: bool = True,
    timeout: float | None = None,
) -> Iterator[int]:
    """Hold the lock on *path* and yield its descriptor; with *create* a missing file is made.

    Waits at most *timeout* seconds (None: `lock_timeout`), then raises BusyError, which names the processes
    that hold it. A file system without flock raises BusyError, too: work without a lock could lose data.
    """
    with opened(_open(path, os.O_CREAT if create else 0)) as file:
        _acquire(file, what, shared=shared, timeout=timeout)
        yield file


@contextlib.contextmanager
def locked_folder(folder: int, *, what: str) -> Iterator[None]:
    """Hold the exclusive lock on the open *folder*; waits as `locked` does."""
    _acquire(folder, what, shared=False, timeout=None)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def lock_refusal(path: str) -> str:
    """Try to lock the existing file *path*, and unlock it; return why it cannot be locked, or ``""``."""
    try:
        with opened(_open(path, 0)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        held = error.errno in (errno.EWOULDBLOCK, errno.EACCES)  # another process holds it: locks work
        return "" if held else error.strerror or str(error)
    return ""


def try_lock(file: int) -> bool:
    """Take the exclusive lock on the open *file* or directory; return False if another process has it."""
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
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR):
            raise
        return os.open(path, os.O_RDONLY | flags)


def _acquire(
    file: int,
    what: str,
    *,
    shared: bool,
    timeout: float | None,
) -> None:
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    timeout = lock_timeout() if timeout is None else timeout
    deadline = time.monotonic() + timeout
    pause, told = _FIRST_WAIT, False
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
        late = time.monotonic() >= deadline
        if (late or pause >= _TOLD_AT) and not told and _Waits.tell is not None:
            told = True
            limit = "as long as it takes" if timeout == float("inf") else f"at most {timeout:g} s"
            _Waits.tell(f"{_in_use(what, _holders(file)[0])}: waiting {limit}")
        if late:
            holders, stopped = _holders(file)
            goes_on = f"kill -CONT {' '.join(map(str, stopped))} lets it go on, or " if stopped else ""
            raise BusyError(
                f"{_in_use(what, holders)}: gave up after {timeout:g} s",
                hint=f"{goes_on}wait for it, or raise PIPM_LOCK_TIMEOUT (seconds)",
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT)


def _in_use(what: str, holders: str) -> str:
    return f"{what[0].upper()}{what[1:]} is in use by {holders}"


def _holders(file: int) -> tuple[str, list[int]]:
    """Describe the processes that hold the lock on the open *file*, and list the stopped ones."""
    from pipm.fs.processes import lock_holders  # noqa: PLC0415 - few processes wait

    holders = lock_holders(file)
    if not holders:
        return "another process", []
    texts = []
    for holder in holders[:_MOST_NAMED]:
        state = ", stopped" if holder.stopped else ""
        texts.append(f"process {holder.number} ({holder.command}{state})")
    more = [f"{len(holders) - _MOST_NAMED} more"] if len(holders) > _MOST_NAMED else []
    return " and ".join((*texts, *more)), [holder.number for holder in holders if holder.stopped]
