"""The time of a directory whose files are replaced.

Python's import caches, and other tools, compare the time of the directory of the modules.
"""

from __future__ import annotations

import contextlib
import os

from pipm.fs.walk_tree import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def same_cache_time(directory: int) -> Iterator[None]:
    """Keep the time of the open *directory*, a ``__pycache__``; no program uses this time."""
    before = os.fstat(directory)
    try:
        yield
    finally:
        _restore_time(directory, before)


def _restore_time(directory: int, before: os.stat_result) -> bool:
    """Restore the time of an open directory; return whether it had changed."""
    if os.fstat(directory).st_mtime_ns == before.st_mtime_ns:
        return False
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


class FolderTime:
    """Keeps the time of the open *directory*, which import caches compare, if its names stay the same.

    The names *ours* are pipm's own and do not count. If another program adds a name, the time must change.
    """

    __slots__ = ("_before", "_directory", "_names", "_ours")

    def __init__(self, directory: int, *ours: str) -> None:
        self._directory, self._ours = directory, ours
        self._before: os.stat_result | None = None
        self._names: set[str] = set()

    def begin(self) -> None:
        """Note time and names before the first change; a directory without changes is never listed."""
        if self._before is None:
            self._before = os.fstat(self._directory)
            self._names = self._listed()

    def end(self) -> None:
        """Restore the time, then compare the names: a change after that sets a new time by itself."""
        before, self._before = self._before, None
        if before is not None and _restore_time(self._directory, before) and self._listed() != self._names:
            os.utime(self._directory)

    def _listed(self) -> set[str]:
        return {*names_in(self._directory), *self._ours}


@contextlib.contextmanager
def same_folder_time(directory: int, *ours: str) -> Iterator[None]:
    """Keep the time of the open *directory* as `FolderTime` does, for a block that changes it."""
    time = FolderTime(directory, *ours)
    time.begin()
    try:
        yield
    finally:
        time.end()
