"""Read leases: a fast way to see whether a process has a file open for writing (fcntl(2), F_SETLEASE)."""

from __future__ import annotations

import errno
import fcntl
import signal
from enum import Enum


def forbid_lease_signals() -> None:
    """Ignore SIGIO: it is sent when a writer breaks a lease, and would end the process."""
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)


class Lease(Enum):
    """The answer to a request for a read lease."""

    GRANTED = "granted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_LEASES = hasattr(fcntl, "F_SETLEASE")


def take_read_lease(file: int) -> Lease:
    """Ask for a read lease on *file* (open for reading), which lasts until *file* is closed.

    REFUSED: a process has it open for writing. GRANTED: no process has it open for writing, and a new writer
    waits. UNKNOWN: the file system has no leases (network file systems, macOS), so only the comparison of
    bytes protects the file.
    """
    if not _LEASES:
        return Lease.UNKNOWN
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        busy = error.errno in (errno.EAGAIN, errno.EBUSY)
        return Lease.REFUSED if busy else Lease.UNKNOWN
    return Lease.GRANTED
