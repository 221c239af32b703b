"""Whether an environment changed since a sync last looked at all of it: a stat for each folder.

Theory of operation. A name that comes, goes or is replaced changes the change time of its folder, which no
program can set. A file that is written to in place does not. Where files are hard links such a file is the
store's, too (`pipm verify` looks after those); what the environment has for itself, RECORDs, scripts, path
files, is looked at file by file. Reflinks and copies are all an environment's own, and are not remembered.

The times are those from before all was looked at, or from when a new folder was filled: whatever changes
afterwards shows, once the clock that change times come from has ticked. A power cut may take bytes of files
whose times are on the disk: what was seen before a machine started is not believed.
"""

from __future__ import annotations

import os
import struct
import sys
import time
import zlib
from typing import TYPE_CHECKING

from dedupe import __version__
from dedupe.core.sha256 import sha256
from dedupe.fs.cache import read_value, write_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dedupe.core.scheme import Scheme
    from dedupe.env.environment import Environment
    from dedupe.store.roots import Root

    Row = tuple[int, int, int]
    Times = Mapping[str, Row]
    """By path, a folder's ending with a slash: when it changed (ns), its inode, its size."""

_FORMAT = 1
_NONE: Times = {}
_KIND = "environment"
LINKED = frozenset({"hardlink", "finder"})
"""Link modes by which a file that is written to in place is the store's."""
_SECOND = 1_000_000_000
_MARGIN = 20_000_000
"""Nanoseconds; the slowest of kernels tick every ten milliseconds."""
_TICKS = 12
_COARSE = 5
"""CLOCK_REALTIME_COARSE of Linux, for which `time` has no name: change times are taken from it."""
_BOOT = "/proc/sys/kernel/random/boot_id"


class Evidence:
    """What is remembered of the environment open as *root*, which *known* says how to be."""

    def __init__(self, environment: Environment, root: int, known: Root, scheme: Scheme) -> None:
        self._root = root
        parts = (known.device, known.inode, known.promise, known.entries, known.link_mode)
        boot = _boot()
        self._state = f"{_FORMAT} {__version__} {boot} {environment} {parts} {scheme}" if boot else ""

    def holds(self) -> bool:
        """Whether nothing changed since."""
        remembered = read_value(_KIND, self._state) if self._state else None
        if remembered is None:
            return False
        paths, digest = remembered
        times = look(self._root, zlib.decompress(paths).decode("utf-8", "surrogateescape").split("\0"))
        return times is not None and _digest(times) == digest

    def note(self, times: Times | None) -> None:
        """Remember that all was as it should be when folders and files had these *times*."""
        if times is not None and self._state:
            paths = zlib.compress("\0".join(times).encode("utf-8", "surrogateescape"), 1)
            write_value(_KIND, self._state, (paths, _digest(times)))


def _boot() -> str:
    try:
        with open(_BOOT, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def look(root: int, paths: Iterable[str], known: Times = _NONE) -> Times | None:
    """The times of *paths* below the open *root*, but those that are *known*; None where one is missing."""
    times: dict[str, Row] = {}
    try:
        for path in paths:
            times[path] = known[path] if path in known else row(path, os.stat(path, dir_fd=root))
    except OSError:
        return None
    return times


def row(path: str, status: os.stat_result) -> Row:
    """What is remembered of *path*: for a folder, which ends with a slash, when a name of it changed."""
    # Another name of a file's inode, in another environment, is a change of the inode, but none of the file.
    changed = status.st_ctime_ns if path[-1] == "/" else status.st_mtime_ns
    return (changed, status.st_ino, status.st_size)


def is_settled(times: Times) -> bool:
    """Whether none of the *times* is so new that a change from now on could have the same."""
    newest = max(times.values())[0]
    # File systems that know whole seconds alone, or even ones.
    return newest < time.time_ns() - (_MARGIN if newest % _SECOND else 2 * _SECOND)


def settled(times: Times) -> bool:
    """The same, after waiting for the clock's next tick."""
    newest = max(times.values())[0]
    if newest % _SECOND == 0 or sys.platform != "linux":
        return is_settled(times)
    for _ in range(_TICKS):
        if newest < time.clock_gettime_ns(_COARSE):
            return True
        time.sleep(0.001)
    return False


def _digest(times: Times) -> bytes:
    numbers = [number for one in times.values() for number in one]
    return sha256(struct.pack(f"{len(numbers)}q", *numbers)).digest()
