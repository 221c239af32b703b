"""Deciding which files of an environment become private copies, with which mode and times."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pipm.core.disk_usage import Accounting
    from pipm.core.originals import Original

_READ_ONLY = 0o222
_OWNERS_WRITE = 0o200
_STORED_MODES = frozenset({0o444, 0o555, 0o644, 0o755})
"""Modes that a store gives; another one was set by a person since."""
_SECOND = 1_000_000_000


class SharedFile(NamedTuple):
    """A file that shares data with the store, or got its time: its path and its stat.

    ``stored`` is its inode in the store: the file itself (``borrowed``), or one with the same blocks. If
    only the time is the store's, it is the file's own inode and needs no copy (``private``). ``source`` is
    the path of the bytecode's source. ``original`` is its record from before it was adopted. ``link`` is the
    stat of the symlink itself, if the file is one, and ``target`` the stored file that it leads to.
    """

    directory: str
    name: str
    status: os.stat_result
    borrowed: bool = True
    private: bool = False
    stored_mtime_ns: int | None = None
    source: str = ""
    original: Original | None = None
    link: os.stat_result | None = None
    target: str = ""

    @property
    def shown(self) -> str:
        """The path in messages, relative to the environment."""
        return f"{self.directory}/{self.name}" if self.directory else self.name


class Release(NamedTuple):
    """The wanted metadata of a file: of its new private copy, or of a private file.

    ``group`` None: unchanged. ``source_times``: for bytecode, the old time in seconds of its source and the
    new one.
    """

    file: SharedFile
    mode: int
    group: int | None
    mtime_ns: int
    source_times: tuple[int, int] | None = None


def plan_release(files: Sequence[SharedFile]) -> list[Release]:
    """Choose the action for each shared file.

    Mode, group and time are the recorded ones, unless a person changed them since; without a record
    the owner may write files that the store made read-only. The umask has no influence.
    """
    sources = {file.shown: file for file in files if not file.source}
    found = []
    for file in files:
        planned = _release(file)
        source = sources.get(file.source)
        if source is not None:
            times = (source.status.st_mtime_ns // _SECOND, _release(source).mtime_ns // _SECOND)
            planned = planned._replace(source_times=times)
        if _changes(planned):
            found.append(planned)
    return found


def _release(file: SharedFile) -> Release:
    status, original = file.status, file.original
    mode = stat.S_IMODE(status.st_mode)
    if not file.borrowed:  # its own inode kept mode and group
        if original is None or file.stored_mtime_ns != status.st_mtime_ns:
            return Release(file, mode, None, status.st_mtime_ns)
        return Release(file, mode, None, original.mtime_ns)
    if original is None:
        return Release(file, _writable(mode), None, status.st_mtime_ns)
    kept = mode in _STORED_MODES and not (mode ^ original.mode) & stat.S_IXUSR
    return Release(file, original.mode if kept else _writable(mode), original.group, original.mtime_ns)


def _writable(mode: int) -> int:
    return mode if mode & _READ_ONLY else mode | _OWNERS_WRITE


def _changes(release: Release) -> bool:
    """Return whether the file needs a change: a private file may be right already."""
    if not release.file.private:
        return True
    times = release.source_times
    return release.mtime_ns != release.file.status.st_mtime_ns or (times is not None and times[0] != times[1])


def needed_bytes(releases: Sequence[Release], accounting: Accounting) -> int:
    """Bytes of disk that the copies will take."""
    total = 0
    for release in releases:
        if release.file.private:
            continue
        size = release.file.status.st_size
        total += accounting.data(size, release.file.status.st_blocks)  # a copy has as many
        total += accounting.made if release.file.borrowed else 0  # a reflink: one inode less, one more
        total += accounting.extent if size > accounting.inline else 0
    return total
