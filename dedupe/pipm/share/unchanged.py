"""A cache of what adopting an environment found, for as long as nothing in the environment changes.

Theory of operation. No program can set the ctime of a folder or a file. A name that is added, removed or
replaced changes the ctime of its folder, and an edit that of its file. So each folder and each file with one
name is looked at again. A file with several names gets another ctime by each new link of another environment:
its size, time, mode and owner are compared, and if its ctime is newer, its attributes. Environments have such
files in common; a run looks at each once, because a folder that did not change leads to the same inodes.

The times are noted after a recheck that found nothing to do, and only if all are older than its beginning:
then nothing changed meanwhile.
"""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from typing import TYPE_CHECKING

from pipm import __version__
from pipm.context.progress import Progress
from pipm.context.workers import worker_pool
from pipm.env.interpreter import ask_interpreter
from pipm.fs.cache_files import read_value, remove_values, write_value
from pipm.fs.free_space import mount_points_below
from pipm.fs.link_modes import LinkMode
from pipm.fs.xattrs import has_attributes_in
from pipm.share.adoption import Unchanged
from pipm.store.entries import manifest_inode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from pipm.context.workers import SharedState, WorkQueue
    from pipm.env.environment import Environment
    from pipm.share.adopt_job import AdoptJob
    from pipm.share.adoption import AdoptOptions
    from pipm.store.layout import Store
    from pipm.store.roots import Root

    Times = list[tuple[str, int, int]]
    """Path, inode and ctime (ns) of folders, and of files with one name."""
    Facts = list[tuple[str, int, int, int, int]]
    """Path, inode, mtime (ns), size, and mode with owner of files with several names."""

_KIND = "adopted"
_FORMAT = 1
_MODES = (LinkMode.HARDLINK.value, LinkMode.REFLINK.value)
"""In other modes a file may be changed behind a symlink."""
_MARGIN = 20_000_000
"""Nanoseconds; the clock of ctimes is behind by up to ten milliseconds."""
_SECOND = 1_000_000_000
_KEPT = 30 * 86400.0
"""Seconds; the environments of older results may be deleted, and noting one again is quick."""
_TIME, _FACT = struct.Struct("=2Q"), struct.Struct("=4Q")


class UnchangedCache:
    """The cache for one run over environments that share with *store*."""

    def __init__(self, store: Store, options: AdoptOptions) -> None:
        self._store = store
        self._options = options
        self._began = time.time_ns() - _MARGIN
        self._seen: set[tuple[int, int, int, int]] = set()
        self._manifests: dict[str, int] = {}
        self._states: dict[str, str] = {}

    def look(self, environment: Environment, previous: Root | None, root: int) -> Unchanged | None:
        """Return the earlier result for *environment*, open as *root*; None if something changed."""
        state = self._states[environment.path] = self._state(environment, previous)
        kept = read_value(_KIND, state, environment.path) if state else None
        if kept is None:
            return None
        noted, paths, times, facts, result = kept
        names = iter(zlib.decompress(paths).decode("utf-8", "surrogateescape").split("\0"))
        for inode, changed in _TIME.iter_unpack(zlib.decompress(times)):
            status = _status(root, next(names))
            if status is None or (status.st_ino, status.st_ctime_ns) != (inode, changed):
                return None
        for path, fact in zip(names, _FACT.iter_unpack(zlib.decompress(facts)), strict=False):
            if fact not in self._seen:
                status = _status(root, path)
                if status is None or _fact(status) != fact or status.st_nlink == 1:
                    return None
                if status.st_ctime_ns > noted and has_attributes_in(root, path):
                    return None
                self._seen.add(fact)
        return Unchanged(*result)

    def note_all(self, jobs: Sequence[AdoptJob], shared_state: SharedState) -> None:
        """Note the results of *jobs*, for which there was nothing to do."""

        def work(_: int, queue: WorkQueue) -> _Noting:
            return _Noting(self, jobs, queue)

        files = sum(job.statistics.files for job in jobs)
        with worker_pool(work, len(jobs), files, shared_state, Progress()) as pool:
            pool.run("note")
        remove_values(_KIND, time.time() - _KEPT)

    def note(self, job: AdoptJob) -> None:
        """Note the result of *job*."""
        environment, root, statistics = job.locked.environment, job.locked.root, job.statistics
        state = self._states[environment.path]
        if not state or statistics.balance:
            return
        found = _look_at_all(root, self._began, {left.path for left in statistics.left})
        if found is None:
            return
        times, facts = found
        left = [(one.path, one.reason.name) for one in statistics.left]
        counts = (statistics.files, statistics.already, statistics.bytes_shared)
        result = (job.count, *counts, left, sorted(job.entries))
        paths = "\0".join([*(path for path, *_ in times), *(path for path, *_ in facts)])
        packed = (
            zlib.compress(data, 1)
            for data in (
                paths.encode("utf-8", "surrogateescape"),
                b"".join(_TIME.pack(*row[1:]) for row in times),
                b"".join(_FACT.pack(*row[1:]) for row in facts),
            )
        )
        write_value(_KIND, state, (self._began, *packed, result), environment.path)

    def _state(self, environment: Environment, previous: Root | None) -> str:
        """Return all else that the result depends on; "" if it is not cached."""
        if (
            previous is None
            or previous.link_mode not in _MODES
            or self._options.again
            or self._options.link_mode not in (None, LinkMode(previous.link_mode))
            or not environment.is_venv
            or mount_points_below(environment.path)
        ):
            return ""
        manifests = [self._manifest(entry) for entry in previous.entries]
        if not all(manifests):
            return ""
        root = previous._replace(seen=0.0)
        asked = (os.geteuid(), self._options.compile_missing, ask_interpreter(environment.interpreter))
        return f"{_FORMAT} {__version__} {self._store.path} {environment} {root} {manifests} {asked}"

    def _manifest(self, entry: str) -> int:
        inode = self._manifests.get(entry)
        if inode is None:
            inode = self._manifests[entry] = manifest_inode(self._store, entry)
        return inode


class _Noting:
    """Notes the results of *jobs*; the *queue* yields their indexes."""

    def __init__(self, cache: UnchangedCache, jobs: Sequence[AdoptJob], queue: Iterable[int]) -> None:
        self._cache = cache
        self._jobs = jobs
        self._queue = queue

    def run(self, _stage: str) -> None:
        for number in self._queue:
            self._cache.note(self._jobs[number])

    def close(self) -> None:
        """Do nothing: nothing is open."""


def _status(root: int, path: str) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=root, follow_symlinks=False)
    except OSError:
        return None


def _fact(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode | status.st_uid << 32)


def _look_at_all(root: int, began: int, left: AbstractSet[str]) -> tuple[Times, Facts] | None:
    """Look at everything in the folder *root*; return None if something is newer than the time *began*.

    Files that the run *left* alone may have several names, and be left because of them: their ctime counts.
    """
    times: Times = []
    facts: Facts = []
    newest = 0
    waiting = ["."]
    while waiting:
        folder = waiting.pop()
        try:
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        except OSError:
            return None
        under = "" if folder == "." else f"{folder}/"
        try:
            status = os.fstat(file)
            newest = max(newest, status.st_ctime_ns)
            times.append((folder, status.st_ino, status.st_ctime_ns))
            with os.scandir(file) as scan:
                for entry in scan:
                    status = entry.stat(follow_symlinks=False)
                    changed = status.st_ctime_ns
                    newest = max(newest, changed)
                    path = under + entry.name
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(path)
                    elif status.st_nlink > 1 and path not in left:
                        facts.append((path, *_fact(status)))
                    else:
                        times.append((path, status.st_ino, changed))
        finally:
            os.close(file)
    if newest % _SECOND == 0:  # some file systems have whole seconds, or even ones
        newest += 2 * _SECOND
    return (times, facts) if newest < began else None
