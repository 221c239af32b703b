"""Finding processes that map files of a folder (proc_pid_maps(5)), run a program in it or hold a lock."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator


_LONGEST = 80
"""The most characters of a command line that are shown."""


class LockHolder(NamedTuple):
    """A process that holds a lock; its command line without passwords and control characters."""

    number: int
    command: str
    stopped: bool


def lock_holders(file: int) -> list[LockHolder]:
    """List the visible processes that hold a lock of flock(2) on the open *file*; Linux only.

    Each process with the locked descriptor holds the lock, and its /proc/PID/fdinfo has a row for it
    (proc(5)). /proc/locks is no help: the process named there may have ended while its child holds the lock.
    """
    found = []
    status = os.fstat(file)
    for process in _processes():
        if process != os.getpid() and _holds(process, status):
            words = _table(process, "cmdline").decode(errors="replace").rstrip("\0").split("\0")
            text = redacted(" ".join((os.path.basename(words[0]), *words[1:])))[:_LONGEST]
            state = _table(process, "stat").rpartition(b")")[2].split()[:1]
            command = "".join(one if one.isprintable() else "?" for one in text)
            found.append(LockHolder(process, command, state in ([b"T"], [b"t"])))
    return found


def _holds(process: int, status: os.stat_result) -> bool:
    try:
        for name in os.listdir(f"/proc/{process}/fd"):
            there = os.stat(f"/proc/{process}/fd/{name}")
            if os.path.samestat(there, status) and b"\nlock:" in _table(process, f"fdinfo/{name}"):
                return True
    except OSError:  # the process ended, closed the file, or belongs to another user
        return False
    return False


def mapped_paths(marker: str) -> set[str]:
    """List the paths with *marker* in them that visible processes map; Linux only.

    The table of each process is searched as bytes (7 ms for 447 processes). If a path is not in the list, a
    process of another user may still map it.
    """
    wanted = os.fsencode(marker)
    found: set[str] = set()
    for table in _tables("maps"):
        if wanted in table:
            rows = (line.split(maxsplit=5) for line in table.splitlines() if wanted in line)
            found.update(os.fsdecode(row[5]) for row in rows if len(row) == 6)
    return found


def programs_below(folder: str) -> set[str]:
    """List the programs below *folder* that visible processes run; Linux only."""
    start = os.fsencode(f"{folder}/")
    first = (table.partition(b"\0")[0] for table in _tables("cmdline"))
    return {os.fsdecode(word) for word in first if word.startswith(start)}


def _tables(name: str) -> Iterator[bytes]:
    for process in _processes():
        yield _table(process, name)


def _processes() -> list[int]:
    try:
        return [int(process) for process in os.listdir("/proc") if process.isdecimal()]
    except OSError:
        return []


def _table(process: int, name: str) -> bytes:
    try:
        with open(f"/proc/{process}/{name}", "rb") as stream:
            return stream.read()
    except OSError:  # the process ended, or belongs to another user
        return b""
