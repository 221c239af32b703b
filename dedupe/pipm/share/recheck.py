"""Rechecking environments that an earlier run adopted: an unchanged one needs no write and no sync.

One stat for each file and one listing for each ``__pycache__`` show that a distribution is shared; no content
is read. In doubt the distribution is adopted again. `unchanged` remembers the result.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compiled_files import CACHE, match_bytecode
from pipm.context.statistics import Statistics
from pipm.context.workers import worker_pool
from pipm.core.bytecode import bytecode_mtime_ns, header_time
from pipm.core.digest import EMPTY
from pipm.core.plan.adopt_plan import AlreadyShared, IngestCopy, Leave, plan_file
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace
from pipm.env.interpreter import ask_interpreter
from pipm.fs.beneath import directory_beneath
from pipm.fs.link_modes import LinkMode
from pipm.fs.xattrs import has_attributes_in
from pipm.share.adopt_job import lines, work_order
from pipm.share.fast_share import NOT_ORDINARY, ROW_BELOW_SITE, ordinary_rows
from pipm.share.file_facts import FactGatherer
from pipm.share.prepare_adopt import entries_by_release
from pipm.store.entries import has_entry
from pipm.store.known import Releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState, WorkQueue
    from pipm.core.plan.adopt_plan import Action, FileFact
    from pipm.env.installed import InstalledDistribution
    from pipm.share.adopt_job import AdoptJob
    from pipm.share.adoption import AdoptOptions
    from pipm.share.fast_share import Folders, OrdinaryRow
    from pipm.store.known import KnownFiles
    from pipm.store.layout import Store


Sources = dict[str, int]
"""Modules of a folder, with the modification time (ns) that their bytecode should have."""
_NEVER = -1
"""A time that no shared bytecode has."""


class Rechecked(NamedTuple):
    """One worker's result for one environment; ``finished`` are indexes of its distributions."""

    statistics: Statistics
    finished: list[int]
    entries: list[str]


def count_unchanged(
    store: Store,
    jobs: Sequence[AdoptJob],
    options: AdoptOptions,
    shared_state: SharedState,
    progress: Progress,
) -> None:
    """Count in each job the unchanged distributions of an earlier run, and remove them from ``left``."""
    trusted = [job for job in jobs if _trust(job, options)]
    common = _Common(Releases(store), set())
    rechecks = [_Recheck(store, job, common, compile_missing=options.compile_missing) for job in trusted]
    order = work_order(trusted)
    files = lines(trusted)
    if not order:
        return

    def work(_: int, queue: WorkQueue) -> _RecheckWorker:
        return _RecheckWorker(rechecks, order, queue, shared_state)

    progress.phase("Checking files", files)
    with worker_pool(work, len(order), files, shared_state, progress) as pool:
        answers: list[list[Rechecked]] = pool.run("recheck")
    for job, several in zip(trusted, zip(*answers, strict=True), strict=True):
        finished: set[int] = set()
        for seen in several:
            job.statistics.add(seen.statistics)
            job.entries.update(seen.entries)
            finished.update(seen.finished)
        job.left = [one for number, one in enumerate(job.left) if number not in finished]


def _trust(job: AdoptJob, options: AdoptOptions) -> bool:
    """Return True if the result of an earlier run may be used for this environment."""
    mode = job.earlier_mode
    if mode is None or options.link_mode not in (None, mode) or not job.locked.is_trusted(mode):
        return False
    job.mode = mode
    return True


class _RecheckWorker:
    """Rechecks distributions of several environments; the *queue* yields indexes of *order*.

    An item of *order* lists (index of the environment, index of the distribution there).
    """

    def __init__(
        self,
        rechecks: Sequence[_Recheck],
        order: Sequence[Sequence[tuple[int, int]]],
        queue: Iterable[int],
        shared_state: SharedState,
    ) -> None:
        self._rechecks = rechecks
        self._order = order
        self._queue = queue
        self._shared_state = shared_state

    def run(self, _stage: str) -> list[Rechecked]:
        """Recheck all distributions; return the results by environment."""
        for index in self._queue:
            known: dict[bytes, OrdinaryRow] = {}
            for environment, number in self._order[index]:
                self._shared_state.check()
                recheck = self._rechecks[environment]
                recheck.recheck(number, known)
                self._shared_state.advance(0, recheck.distributions[number].lines)
                self._shared_state.tell()
        return [recheck.seen for recheck in self._rechecks]

    def close(self) -> None:
        """Do nothing: nothing is open."""


class _NeedsWorkError(Exception):
    """Raised for a distribution that must be adopted again."""


class _Common(NamedTuple):
    """What the environments of a run have in common, so that it is read once.

    ``plain`` gets the inodes that changed since a run but have no attributes: a link of any sharer changes
    them.
    """

    releases: Releases
    plain: set[int]


class _Recheck:
    """One environment that an earlier run adopted."""

    def __init__(self, store: Store, job: AdoptJob, common: _Common, *, compile_missing: bool) -> None:
        locked = job.locked
        self._links = f"{store.path}/v1/"
        self._store = store
        self._root = locked.root
        self.distributions = job.left
        self._entries = entries_by_release(locked.entries)
        self._interpreter = ask_interpreter(locked.environment.interpreter)
        self._compile_missing = compile_missing
        self._by_inode = job.mode is LinkMode.HARDLINK
        self._user = os.geteuid()
        self._contested = bool(locked.contested)
        self._observer = FactGatherer(
            root=locked.root,
            store=store,
            releases=common.releases,
            trusted=True,
            by_inode=self._by_inode,
            contested=locked.contested,
            entries=self._entries,
            seen_ns=locked.seen_ns,
            programs=job.earlier_mode is not LinkMode.SYMLINK,
        )
        self._seen_ns = locked.seen_ns
        self._plain = common.plain
        self.seen = Rechecked(Statistics(job.statistics.accounting), [], [])

    def recheck(self, number: int, rows: dict[bytes, OrdinaryRow]) -> None:
        """Check one distribution, and count it if it is unchanged; *rows* of its release are parsed once."""
        distribution = self.distributions[number]
        statistics = Statistics(self.seen.statistics.accounting)
        sources: dict[str, Sources] = {}
        try:
            entry = self._entry(distribution, rows, sources, statistics)
            for directory, modules in sources.items():
                self._bytecode(directory, modules, statistics)
        except _NeedsWorkError:
            return
        self.seen.statistics.add(statistics)
        self.seen.finished.append(number)
        if entry is not None:
            self.seen.entries.append(entry)

    def _entry(
        self,
        distribution: InstalledDistribution,
        parsed: dict[bytes, OrdinaryRow],
        sources: dict[str, Sources],
        statistics: Statistics,
    ) -> str | None:
        """Return the entry of a distribution if its files are shared; raise _NeedsWorkError if not."""
        if distribution.refusal is not None:
            statistics.files += 1
            statistics.leave(f"{distribution.site}/{distribution.metadata}", distribution.refusal)
            return None
        entry = self._entries.get((distribution.name, distribution.version))
        if entry is None or not has_entry(self._store, entry):
            raise _NeedsWorkError
        known = self._observer.known(distribution)
        rows = ordinary_rows(distribution, parsed, ROW_BELOW_SITE)
        rest = self._count_ordinary(distribution, rows, sources, known, statistics)
        for _, directory, facts in self._observer.folders(distribution.narrowed(rest)):
            for fact in facts:
                action = plan_file(fact, user=self._user, by_inode=self._by_inode)
                proven = self._unchanged_digest(action, statistics)
                if proven and fact.name.endswith(".py") and fact.place is RecordPlace.SITE:
                    assert fact.status is not None
                    shared = fact.status.st_size > 0 or _has_time(fact, known)
                    time = header_time(fact.status.st_mtime_ns)
                    compiled = bytecode_mtime_ns(time) if shared else _NEVER
                    sources.setdefault(directory, {})[fact.name[:-3]] = compiled
        return entry

    def _count_ordinary(
        self,
        distribution: InstalledDistribution,
        rows_and_rest: tuple[Folders, bytes],
        sources: dict[str, Sources],
        known: KnownFiles,
        statistics: Statistics,
    ) -> bytes:
        """Count the shared ordinary files of RECORD; return all other rows.

        For these files the result is that of `plan_file`, in a third of the time.
        """
        if self._contested:
            return distribution.record
        folders, other = rows_and_rest
        rest = [other]
        for name, rows in folders.items():
            folder = os.fsdecode(name)
            directory = f"{distribution.site}/{folder}"
            recorded = [
                (row, known.time_at(f"site/{folder}/{row.name}", row.digest)) for row in rows.values()
            ]
            rest += self._unshared(directory, recorded, sources.setdefault(directory, {}), statistics)
        return b"\n".join(rest)

    def _unshared(
        self,
        directory: str,
        rows: Iterable[tuple[OrdinaryRow, int | None]],
        modules: Sources,
        statistics: Statistics,
    ) -> Iterator[bytes]:
        """Count the files of one folder that are shared, and yield the rows of the others."""
        with directory_beneath(self._root, directory) as folder:
            if folder is None:
                raise _NeedsWorkError
            for row, recorded in rows:
                try:
                    status = os.stat(row.name, dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    raise _NeedsWorkError from error
                if recorded is None or not self._is_shared(status, recorded, row.size):
                    yield row.row
                    continue
                changed = self._by_inode and status.st_ctime_ns > self._seen_ns
                if changed and status.st_ino not in self._plain:
                    if has_attributes_in(folder, row.name):
                        yield row.row
                        continue
                    self._plain.add(status.st_ino)
                statistics.files += 1
                statistics.already += 1
                statistics.bytes_shared += row.size
                if row.name.endswith(".py"):
                    modules[row.name[:-3]] = bytecode_mtime_ns(header_time(recorded))

    def _is_shared(self, status: os.stat_result, mtime_ns: int, size: int) -> bool:
        return (
            status.st_mtime_ns == mtime_ns
            and status.st_size == size > 0
            and (status.st_nlink > 1 or not self._by_inode)
            and status.st_uid == self._user
            and status.st_mode & NOT_ORDINARY == stat.S_IFREG
        )

    @staticmethod
    def _unchanged_digest(action: Action, statistics: Statistics) -> bool:
        """Count an unchanged file; return True if its content is known. Raise _NeedsWorkError for others."""
        fact = action.fact
        statistics.files += 1
        match action:
            case AlreadyShared():
                assert fact.status is not None
                statistics.already += 1
                statistics.bytes_shared += fact.status.st_size
                return True
            case Leave(_, Reason.EMPTY):
                statistics.leave(fact.shown, action.reason)
                return True
            case Leave():
                statistics.leave(fact.shown, action.reason)
            case IngestCopy() if fact.sound:
                statistics.leave(fact.shown, action.reason)
            case _:
                raise _NeedsWorkError
        return False

    def _bytecode(self, directory: str, sources: Sources, statistics: Statistics) -> None:
        if not sources:
            return
        compiled = 0
        with directory_beneath(self._root, f"{directory}/{CACHE}") as cache:
            for name in () if cache is None else os.listdir(cache):
                assert cache is not None
                found = match_bytecode(name, self._interpreter)
                if found is not None and found[0] in sources:
                    self._one(cache, name, sources[found[0]], statistics)
                    compiled += found[1] == 0
                elif name.endswith(".pyc") and found is None and name.partition(".")[0] in sources:
                    statistics.files += 1
                    statistics.leave(f"{directory}/{CACHE}/{name}", Reason.OTHER_BYTECODE)
        if self._compile_missing and compiled < len(sources):
            raise _NeedsWorkError

    def _one(self, cache: int, name: str, mtime_ns: int, statistics: Statistics) -> None:
        status = os.stat(name, dir_fd=cache, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            ours = os.readlink(name, dir_fd=cache).startswith(self._links)
        else:
            ours = (
                stat.S_ISREG(status.st_mode)
                and status.st_uid == self._user
                and status.st_mtime_ns == mtime_ns
                and (status.st_nlink > 1 or not self._by_inode)
            )
        if not ours:
            raise _NeedsWorkError
        statistics.files += 1
        statistics.already += 1
        statistics.bytes_shared += status.st_size


def _has_time(fact: FileFact, known: KnownFiles) -> bool:
    """Return True if an empty source, which is never shared, has the time in its shared bytecode."""
    assert fact.status is not None
    return known.time_at(fact.entry_path, EMPTY) == fact.status.st_mtime_ns
