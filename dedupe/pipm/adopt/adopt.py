"""`pipm adopt`: make existing environments share their files with the store, in place.

Several environments are adopted in one run: one sync(2) serves all of them, and no worker waits at the end of
each environment.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipm.context.environment_lock import checked_environment, is_unchanged, root_of
from pipm.context.statistics import Statistics, count_folders, count_freed_inodes
from pipm.context.workers import SharedState, interruptible
from pipm.core.reasons import Reason
from pipm.env.receipt import receipt_at
from pipm.errors import (
    FileSystemError,
    FullDiskError,
    InterruptedRunError,
    LinkingImpossibleError,
    PipmError,
    StoreError,
    UsageError,
)
from pipm.finder.finder_usage import missing_store
from pipm.fs.compression import compresses
from pipm.fs.durability import Durability, syncing, writing_ahead
from pipm.fs.free_space import accounting, file_system_type, free_space, stable_free_space
from pipm.fs.link_modes import LinkMode
from pipm.fs.os_errors import explain_os_error
from pipm.fs.read_lease import forbid_lease_signals
from pipm.share.adopt_job import AdoptJob, lines
from pipm.share.adopt_stages import run_stages
from pipm.share.adoption import Adoption, AdoptOptions, adoption_of
from pipm.share.make_room import has_room, make_room, room_for
from pipm.share.prepare_adopt import AdoptRun, lock_environment
from pipm.share.recheck import count_unchanged
from pipm.share.unchanged import UnchangedCache
from pipm.store.entries import has_entry, is_linked
from pipm.store.layout import RESERVE_SIZE, VERSION, folder_blocks, keep_reserve, open_store, release_reserve
from pipm.store.roots import ADOPTED, find_root, write_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.env.environment import Environment
    from pipm.share.make_room import MadeRoom
    from pipm.share.prepare_adopt import LockedEnvironment
    from pipm.store.layout import Store

    Outcome = Adoption | PipmError

_WORTH_MEASURING = 64 << 20
"""Minimum bytes freed for which asking the file system, which takes a fraction of a second, is worth it."""
_PLAUSIBLE = 0.05
_SLACK = 1 << 20
_WRITE_EVERY = 1.0
"""Seconds between syncs in the background, so that the syncs that pipm waits for are short."""
_SEEN_EVERY = 3600.0
"""Seconds after which the root of an unchanged environment is written again with the time it was seen."""


def adopt(store_path: str, path: str, options: AdoptOptions, progress: Progress) -> Adoption:
    """Adopt the environment at *path* into the store at *store_path*.

    Raises PipmError; each file of the environment is then as before or shared, never lost.
    """
    outcome = adopt_together(store_path, [path], options, progress)[path]
    if isinstance(outcome, PipmError):
        raise outcome
    return outcome


def adopt_together(
    store_path: str, paths: Sequence[str], options: AdoptOptions, progress: Progress
) -> dict[str, Outcome]:
    """Adopt several environments in one run; return for each path the adoption, or its error.

    Raises InterruptedRunError.
    """
    outcomes: dict[str, Outcome] = {}
    environments: dict[str, Environment] = {}
    for path in paths:
        try:
            environments[path] = _checked(store_path, path, options)
        except PipmError as error:
            outcomes[path] = error
    if environments:
        try:
            is_new = not os.path.isdir(f"{store_path}/{VERSION}")
            store = open_store(store_path, create=False)
            made = make_room(store, store_path, environments.values(), options.link_mode, progress)
            store = open_store(store_path)
            assert store is not None
            outcomes |= _Run(store, environments, options, progress, made).outcomes(is_new=is_new)
        except FullDiskError as error:
            outcomes |= dict.fromkeys(environments, error)
        except InterruptedRunError:
            raise
        except PipmError as error:
            if len(environments) == 1:
                outcomes |= dict.fromkeys(environments, error)
            else:  # an error of one environment must not stop the others
                for path in environments:
                    outcomes |= adopt_together(store_path, [path], options, progress)
    return outcomes


def _checked(store_path: str, path: str, options: AdoptOptions) -> Environment:
    environment = checked_environment(store_path, path)
    if options.link_mode is LinkMode.COPY:
        raise UsageError("Copies share nothing", hint="choose reflink, hardlink or symlink")
    if options.link_mode is None and file_system_type(environment.path) == "overlay":
        raise LinkingImpossibleError(
            f"{environment.path} is on an overlay file system: sharing a file of a lower layer"
            " copies it first, which takes more space",
            hint="adopt it in the layer that made it, with --link-mode hardlink",
        )
    gone = missing_store(environment.path, environment.sites)
    if gone and receipt_at(environment.path) is None:  # adopting leads the finder to the new place
        raise StoreError(
            f"{environment.path} reads files of the store {gone}, which is gone or was moved",
            hint=f"if it was moved: pipm release --store DIR {environment.path}, then adopt it again",
        )
    return environment


class _Run:
    """One run over *environments*, by the path that the user named."""

    def __init__(
        self,
        store: Store,
        environments: dict[str, Environment],
        options: AdoptOptions,
        progress: Progress,
        made: MadeRoom,
    ) -> None:
        self._store = store
        self._environments = environments
        self._options = options
        self._progress = progress
        self._made = made
        self._shared_state = SharedState()
        self._jobs: list[AdoptJob] = []
        self._compressed = False
        self._said = False
        self._outcomes: dict[str, Outcome] = {}
        self._cache = UnchangedCache(store, options)

    def outcomes(self, *, is_new: bool) -> dict[str, Outcome]:
        """Adopt all environments; *is_new*: this run created the store, so its reserve counts as taken."""
        started = time.monotonic()
        before = self._free_before()
        forbid_lease_signals()
        try:
            with ExitStack() as stack:
                if not all(find_root(self._store, one.path) for one in self._environments.values()):
                    stack.enter_context(syncing([self._store.v1]))  # there is work, which begins with a sync
                self._lock(stack)
                with interruptible(self._shared_state):
                    count_unchanged(
                        self._store, self._jobs, self._options, self._shared_state, self._progress
                    )
                    self._note_seen()
                    self._adopt(is_new=is_new)
                keep_reserve(self._store)
        except OSError as error:
            raise explain_os_error(error, f"adopt {', '.join(self._environments)}") from error
        finally:
            self._progress.done()
        count_freed_inodes([job.statistics for job in self._jobs])
        self._measure(before)
        self._report(time.monotonic() - started)
        return self._outcomes

    def _lock(self, stack: ExitStack) -> None:
        # Sorted: two runs over the same environments take the locks in one order and never deadlock.
        for path, environment in sorted(self._environments.items(), key=lambda item: item[1].path):
            try:
                locked = stack.enter_context(
                    lock_environment(
                        self._store, environment, self._progress, self._options.again, self._cache.look
                    )
                )
            except PipmError as error:
                self._outcomes[path] = error
                continue
            self._say_duplicates(locked)
            statistics = Statistics(accounting(file_system_type(environment.path)))
            statistics.freed += self._made.freed.get(environment.path, 0)
            for status in self._made.replaced.get(environment.path, ()):
                statistics.replaced(status)
            job = AdoptJob(
                path=path,
                locked=locked,
                statistics=statistics,
                count=len(locked.distributions),
                left=locked.distributions,
                originals=self._made.originals.get(environment.path, {}),
            )
            if locked.unchanged is not None:
                job.take(locked.unchanged)
            self._jobs.append(job)
        order = list(self._environments)  # the first in it keeps a content, the others free theirs
        self._jobs.sort(key=lambda job: order.index(job.path))

    def _say_duplicates(self, locked: LockedEnvironment) -> None:
        """Print a note once if the store lost its hard links when it was copied."""
        previous = locked.previous
        if self._said or previous is None or is_unchanged(previous, locked.environment):
            return
        entries = [entry for entry in previous.entries if has_entry(self._store, entry)]
        self._said = not all(is_linked(self._store, entry) for entry in entries)
        if self._said:
            self._progress.note(
                "the store has some files twice, probably because it was copied without hard links;"
                " `pipm verify --repair` links them again"
            )

    def _note_seen(self) -> None:
        """Write the roots of environments that need no change with the time they were seen."""
        noted: list[AdoptJob] = []
        for job in self._jobs:
            previous = job.locked.previous
            if not job.left and previous is not None and job.mode is not None:
                released = job.locked.released
                known = (set(previous.entries), previous.released) == (job.entries, released)
                if job.locked.unchanged is None and known:
                    noted.append(job)
                if not known or time.time() - previous.seen > _SEEN_EVERY:
                    entries = tuple(sorted(job.entries))
                    root = root_of(job.locked.environment, job.mode.value, ADOPTED, entries, released)
                    write_root(self._store, root, Durability.WHOLE)
        if noted:
            self._cache.note_all(noted, self._shared_state)

    def _adopt(self, *, is_new: bool) -> None:
        """Adopt the distributions that changed since the last adopt."""
        jobs = [job for job in self._jobs if job.left or job.mode is None]
        if not jobs:
            self._store.sweep()  # the folder of an earlier run that was killed just before it swept
            return
        files = lines(jobs)
        free = free_space(self._store.path)
        tight = not self._made.enough and not has_room(free, room_for(files))
        if tight and len(jobs) > 1:
            raise FileSystemError("The disk has no room to adopt all these environments at once")
        if tight:
            release_reserve(self._store)
        before = 0 if is_new else folder_blocks(self._store)
        with ExitStack() as stack:
            stack.enter_context(writing_ahead([self._store.v1], _WRITE_EVERY))
            run, run_path = stack.enter_context(self._store.run())
            adopt_run = AdoptRun(
                store=self._store,
                options=self._options,
                shared_state=self._shared_state,
                run=run,
                run_path=run_path,
                tight=tight,
                further_names=self._made.names,
            )
            at_work = []
            for job in jobs:
                try:
                    context = stack.enter_context(adopt_run.context(job.locked))
                except PipmError as error:
                    self._outcomes[job.path] = error
                    self._jobs.remove(job)
                else:
                    job.mode = context.mode
                    at_work.append((job, context))
            if at_work:
                run_stages(at_work, self._shared_state, self._progress)
        grown = folder_blocks(self._store) - before
        count_folders([job.statistics for job, _ in at_work], grown, RESERVE_SIZE if is_new else 0)
        if tight:
            for job, _ in at_work:
                _explain_full_disk(self._store, job.statistics)

    def _free_before(self) -> int:
        """Return the free space in bytes; on a compressed file system all data is written first.

        There, the figures depend on it.
        """
        places = [self._store.path, *(one.path for one in self._environments.values())]
        self._compressed = any(map(compresses, places))
        stable = stable_free_space(self._store.v1) if self._compressed else None
        return free_space(self._store.path).size if stable is None else stable

    def _measure(self, before: int) -> None:
        """Correct the freed bytes by the file system's figure, if ours are estimates; *before* was free.

        XFS and btrfs free metadata in larger pieces than single inodes and names, and stat(2) does not show
        compression. If the difference is not plausible, another process wrote at the same time, and our
        figure stays.
        """
        freed = sum(job.statistics.balance for job in self._jobs)
        if not self._compressed and (
            freed < _WORTH_MEASURING or not any(job.statistics.accounting.made for job in self._jobs)
        ):
            return
        if not any(job.statistics.shared for job in self._jobs):
            return
        after = stable_free_space(self._store.v1)
        difference = 0 if after is None else after - before - freed
        if self._compressed:
            self._take(difference, known=after is not None)
        elif abs(difference) <= freed * _PLAUSIBLE:
            most = max(self._jobs, key=lambda job: job.statistics.balance)
            most.statistics.freed += difference

    def _take(self, difference: int, *, known: bool) -> None:
        """Distribute *difference*, due to compression, over the environments by what each freed and took.

        A difference larger than our figures is due to another process; then they are an upper limit.
        """
        most = sum(job.statistics.freed + job.statistics.taken for job in self._jobs)
        if not known or abs(difference) > most + _SLACK:
            for job in self._jobs:
                job.statistics.at_most = True
            return
        rest = difference
        for job in self._jobs[1:]:
            share = difference * (job.statistics.freed + job.statistics.taken) // max(most, 1)
            job.statistics.freed += share
            rest -= share
        self._jobs[0].statistics.freed += rest

    def _report(self, seconds: float) -> None:
        work = sum(job.statistics.seconds for job in self._jobs)
        for job in self._jobs:
            assert job.mode is not None
            share = job.statistics.seconds / work if work else 1 / len(self._jobs)
            environment = job.locked.environment
            self._outcomes[job.path] = adoption_of(
                environment, job.mode.value, job.count, job.statistics, seconds * share
            )


def _explain_full_disk(store: Store, statistics: Statistics) -> None:
    """Raise when a full disk kept everything from being shared."""
    shared = statistics.shared or statistics.already
    if not shared and any(left.reason is Reason.NO_ROOM for left in statistics.left):
        raise FileSystemError(
            f"No space left: the disk of the store {store.path} is full, and the store has none of this"
            " environment's files yet",
            hint="free some space (or inodes) there, then run the same command again",
        )
