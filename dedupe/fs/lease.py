"""Read leases: the cheap question "is anybody writing this file?" (fcntl(2), F_SETLEASE)."""

from __future__ import annotations

import errno
import fcntl
import signal


def forbid_lease_signals() -> None:
    """Ignore SIGIO: it is sent when a writer breaks a lease, and would end the process."""
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)


def is_open_for_writing(file: int) -> bool:
    """Take a read lease on *file* (open for reading); True when some process has it open for writing.

    The lease lasts until *file* is closed; a writer that comes meanwhile waits. Where leases do not
    exist (network file systems, macOS) the answer is False, and the byte comparison is what protects.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EBUSY)
    return False
