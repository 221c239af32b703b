"""What changed in an environment since a sync last looked at all of it: a stat for each folder.

Theory of operation. A name that comes, goes or is replaced changes the change time of its folder, which no
program can set. A file that is written to in place does not. Where files are hard links such a file is the
store's, too (`pipm verify` looks after those); what the environment has for itself, RECORDs, scripts, path
files, is looked at file by file. Reflinks and copies are all an environment's own, and are not remembered.

What is remembered is a digest for each entry, so that a change costs a look at those whom it touches alone.
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
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pipm import __version__
from pipm.core.sha256 import sha256
from pipm.fs.cache_files import read_value, write_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.store.roots import Root

    Row = tuple[int, int, int]
    Times = Mapping[str, Row]
    """By path, a folder's ending with a slash: when it changed (ns), its inode, its size."""
    Groups = Mapping[str, Sequence[str]]
    """The paths of each entry; those of none are `COMMON`, or `BIN` where scripts lie."""

COMMON, BIN = "", "bin"
_FORMAT = 2
_NONE: Times = {}
_KIND = "environment"
_LINKED = frozenset({"hardlink", "finder"})
"""Link modes by which a file that is written to in place is the store's."""
_SECOND = 1_000_000_000
_MARGIN = 20_000_000
"""Nanoseconds; the slowest of kernels tick every ten milliseconds."""
_TICKS = 12
_COARSE = 5
"""CLOCK_REALTIME_COARSE of Linux, for which `time` has no name: change times are taken from it."""
_BOOT = "/proc/sys/kernel/random/boot_id"


class SeenTimes(NamedTuple):
    """How folders and files were at one time; what was not there has no time."""

    groups: Groups
    times: Times

    def untouched_since(self, before: SeenTimes) -> frozenset[str]:
        """The groups that are as they were *before*; scripts may have come to `BIN`."""
        then, now = before.times, self.times
        return frozenset(
            name
            for name in before.named_in(self.groups)
            if all(now.get(path) == then[path] for path in before.groups[name] if path != f"{BIN}/")
        )

    def named_in(self, groups: Groups) -> frozenset[str]:
        """Those of its groups that have the same paths in *groups*; scripts may have come to `BIN`."""
        return frozenset(
            name for name, paths in self.groups.items() if name == BIN or groups.get(name) == paths
        )


NOTHING = SeenTimes({}, {})


class ChangeCache:
    """What is remembered of the environment open as *root*, which *known* says how to be."""

    def __init__(self, environment: Environment, root: int, known: Root, scheme: Scheme) -> None:
        self._root = root
        parts = (known.device, known.inode, known.fingerprint, known.entries, known.link_mode)
        boot = _boot()
        self.is_kept = bool(boot and known.fingerprint and known.link_mode in _LINKED)
        """Whether anything can be remembered of it."""
        self._state = f"{_FORMAT} {__version__} {boot} {environment} {parts} {scheme}"
        self.before = NOTHING
        """The groups that `holds` found unchanged."""

    def holds(self) -> bool:
        """Whether nothing changed since; what did not is in ``before``."""
        remembered = read_value(_KIND, self._state) if self.is_kept else None
        if remembered is None:
            return False
        rows, text = remembered
        paths = iter(zlib.decompress(text).decode("utf-8", "surrogateescape").split("\0"))
        groups = {name: list(islice(paths, count)) for name, count, _ in rows}
        seen = seen_times(self._root, groups)
        same = {name: groups[name] for name, _, digest in rows if _digest(seen, groups[name]) == digest}
        self.before = SeenTimes(same, seen.times)
        return len(same) == len(groups)

    def note(self, seen: SeenTimes) -> None:
        """Remember that all was as it should be when *seen*; waits until no change can have its times."""
        rows = [(name, len(paths), _digest(seen, paths)) for name, paths in seen.groups.items()]
        if all(digest for *_, digest in rows) and _is_settled(seen.times):
            text = "\0".join(path for paths in seen.groups.values() for path in paths)
            write_value(_KIND, self._state, (rows, zlib.compress(text.encode("utf-8", "surrogateescape"), 1)))


def _boot() -> str:
    try:
        with open(_BOOT, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def seen_times(root: int, groups: Groups, known: Times = _NONE) -> SeenTimes:
    """The times of all paths of *groups* below the open *root*, but those that are *known*."""
    times: dict[str, Row] = {}
    see = os.stat
    for paths in groups.values():
        for path in paths:
            if path in known:
                times[path] = known[path]
            elif path not in times:
                try:
                    times[path] = _row(path, see(path, dir_fd=root))
                except OSError:
                    continue
    return SeenTimes(groups, times)


def _row(path: str, status: os.stat_result) -> Row:
    # Another name of a file's inode, in another environment, is a change of the inode, but none of the file.
    changed = status.st_ctime_ns if path[-1] == "/" else status.st_mtime_ns
    return (changed, status.st_ino, status.st_size)


def _is_settled(times: Times) -> bool:
    """Whether none of the *times* is so new that a change from now on could have the same; waits for that."""
    newest = max(times.values())[0]
    if newest % _SECOND == 0 or sys.platform != "linux":
        # File systems that know whole seconds alone, or even ones.
        return newest < time.time_ns() - (_MARGIN if newest % _SECOND else 2 * _SECOND)
    for _ in range(_TICKS):
        if newest < time.clock_gettime_ns(_COARSE):
            return True
        time.sleep(0.001)
    return False


def _digest(seen: SeenTimes, paths: Sequence[str]) -> bytes:
    """The digest of the times of *paths*; none where one is missing."""
    times = seen.times
    try:
        numbers = [number for path in paths for number in times[path]]
    except KeyError:
        return b""
    return sha256(struct.pack(f"{len(numbers)}q", *numbers)).digest()
