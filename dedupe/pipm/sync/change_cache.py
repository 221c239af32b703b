"""Detecting changes in an environment since the last full check, with one stat for each folder.

Theory of operation. A name that is added, removed or replaced changes the ctime of its folder, which no
program can set. Writing to a file in place does not. If files are hard links, such a file is the store's; if
they are reflinks, it is an edit of this environment alone. `pipm verify` finds both. The environment's own
files (RECORDs, scripts, path files) are checked one by one. Nothing is cached for copies and symlinks.

The cache has a digest of all times, which one loop of stats compares, and after a change one for each entry,
so that only the affected entries are checked. The times
are those from before the full check, or from when a new folder was filled: any later change has a later time,
as soon as the kernel's coarse clock has ticked. After a power cut a file may lack bytes though its time is on
disk, so the cache is void after a reboot.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from itertools import islice

from pipm import __version__
from pipm.core.named_tuple import NamedTuple
from pipm.core.sha256 import sha256
from pipm.fs.cache_files import packed, read_value, unpacked, write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.store.roots import Root

    Row = tuple[int, int, int]
    Times = Mapping[str, Row]
    """The ctime (ns), inode and size of each path; a folder's path ends with a slash."""
    Groups = Mapping[str, Sequence[str]]
    """The paths of each entry; other paths are in `COMMON`, and the folder of scripts in `BIN`."""

COMMON, BIN = "", "bin"
_FORMAT = 3
_NONE: Times = {}
_KIND = "environment"
_KEPT = frozenset({"hardlink", "finder", "reflink"})
"""Link modes in which a file that is changed in place is left to `pipm verify`."""
_SECOND = 1_000_000_000
_MARGIN = 20_000_000
"""Nanoseconds; the slowest kernels tick each ten milliseconds."""
_TICKS = 12
_COARSE = 5
"""CLOCK_REALTIME_COARSE of Linux, the clock of change times; `time` has no name for it."""
_BOOT = "/proc/sys/kernel/random/boot_id"


class SeenTimes(NamedTuple):
    """The times of folders and files at one moment; missing files have none."""

    groups: Groups
    times: Times

    def untouched_since(self, before: SeenTimes) -> frozenset[str]:
        """Return the groups with the same times as *before*; scripts may have been added to `BIN`."""
        then, now = before.times, self.times
        return frozenset(
            name
            for name in before.named_in(self.groups)
            if all(now.get(path) == then[path] for path in before.groups[name] if path != f"{BIN}/")
        )

    def named_in(self, groups: Groups) -> frozenset[str]:
        """Return the groups with the same paths in *groups*; scripts may have been added to `BIN`."""
        return frozenset(
            name for name, paths in self.groups.items() if name == BIN or groups.get(name) == paths
        )


NOTHING = SeenTimes({}, {})


class ChangeCache:
    """The cache for the environment open as *root*, with the root *known* in the store."""

    def __init__(self, environment: Environment, root: int, known: Root, scheme: Scheme) -> None:
        self._root = root
        parts = (known.device, known.inode, known.fingerprint, known.entries, known.link_mode)
        boot = _boot()
        self.is_kept = bool(boot and known.fingerprint and known.link_mode in _KEPT)
        """True if the environment can be cached."""
        self.has_reflinks = known.link_mode == "reflink"
        """True if its files have inodes of their own, as they should."""
        self._state = f"{_FORMAT} {__version__} {boot} {environment} {parts} {scheme}"

    def holds(self) -> bool:
        """Return True if nothing changed."""
        remembered = self._read()
        if remembered is None:
            return False
        digest, folders, files, _, _ = remembered
        return bool(digest == _digest_at(self._root, unpacked(folders), unpacked(files)))

    def unchanged(self) -> SeenTimes:
        """Return the groups that did not change."""
        remembered = self._read()
        if remembered is None:
            return NOTHING
        *_, rows, text = remembered
        paths = map(os.fsdecode, unpacked(text))
        groups = {name: list(islice(paths, count)) for name, count, _ in rows}
        seen = seen_times(self._root, groups)
        same = {name: groups[name] for name, _, digest in rows if _digest(seen, groups[name]) == digest}
        return SeenTimes(same, seen.times)

    def _read(self) -> Any:  # noqa: ANN401 - what `note` wrote, or None
        return read_value(_KIND, self._state) if self.is_kept else None

    def note(self, seen: SeenTimes) -> None:
        """Record that all was right at the times *seen*; wait until no later change can have these times."""
        rows = [(name, len(paths), _digest(seen, paths)) for name, paths in seen.groups.items()]
        if all(digest for *_, digest in rows) and _are_past(seen.times):
            folders, files = ([p for p in seen.times if (p[-1] == "/") is kind] for kind in (True, False))
            text = packed(path for paths in seen.groups.values() for path in paths)
            digest = _digest(seen, [*folders, *files])
            write_value(_KIND, self._state, (digest, packed(folders), packed(files), rows, text))


def _boot() -> str:
    try:
        with open(_BOOT, "rb") as stream:
            return stream.read().decode("utf-8").strip()
    except OSError:
        return ""


def seen_times(root: int, groups: Groups, known: Times = _NONE) -> SeenTimes:
    """Return the times of all paths of *groups* below the open *root*, except those in *known*."""
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


def _digest_at(root: int, folders: Iterable[bytes], files: Iterable[bytes]) -> bytes:
    """Return the digest of the present times of *folders* and *files* below the open *root*.

    It is that of `_digest` for `seen_times`, in half of the time: most syncs do little else.
    """
    see = os.stat
    numbers: list[int] = []
    try:
        for path in folders:
            status = see(path, dir_fd=root)
            numbers += (status.st_ctime_ns, status.st_ino, status.st_size)
        for path in files:
            status = see(path, dir_fd=root)
            numbers += (status.st_mtime_ns, status.st_ino, status.st_size)
    except OSError:
        return b""
    return _digest_of(numbers)


def _row(path: str, status: os.stat_result) -> Row:
    # A link to the inode from another environment changes the inode's ctime, but not the file.
    changed = status.st_ctime_ns if path[-1] == "/" else status.st_mtime_ns
    return (changed, status.st_ino, status.st_size)


def _are_past(times: Times) -> bool:
    """Wait until no later change can have one of *times*; return False if that takes too long."""
    newest = max(times.values())[0]
    if newest % _SECOND == 0 or sys.platform != "linux":
        # Some file systems have times in whole seconds, or in even ones.
        return newest < time.time_ns() - (_MARGIN if newest % _SECOND else 2 * _SECOND)
    for _ in range(_TICKS):
        if newest < time.clock_gettime_ns(_COARSE):
            return True
        time.sleep(0.001)
    return False


def _digest(seen: SeenTimes, paths: Sequence[str]) -> bytes:
    """Return the digest of the times of *paths*; empty if one is missing."""
    times = seen.times
    try:
        numbers = [number for path in paths for number in times[path]]
    except KeyError:
        return b""
    return _digest_of(numbers)


def _digest_of(numbers: list[int]) -> bytes:
    return sha256(struct.pack(f"{len(numbers)}q", *numbers)).digest()
