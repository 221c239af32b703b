"""The stages of an adoption, run for all environments together (`adopt_worker` explains each stage)."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipm.bytecode.compiled_files import open_pools
from pipm.bytecode.compiler_process import CompilerProcess
from pipm.bytecode.share_bytecode import CompilerPools
from pipm.context.environment_lock import root_of
from pipm.context.workers import worker_count, worker_pool
from pipm.fs.durability import sync_file_systems
from pipm.fs.link_modes import LinkMode
from pipm.fs.share_file import give_name
from pipm.fs.staging import Staging
from pipm.share.adopt_job import lines, work_order
from pipm.share.adopt_worker import AdoptWorker, EnvironmentWorker
from pipm.share.build_entry import complete_entry
from pipm.share.keep_originals import OriginalsReader, OriginalsShare
from pipm.store.entries import publish_entry
from pipm.store.known import Releases
from pipm.store.objects import ObjectFolders
from pipm.store.roots import ADOPTED, ADOPTING, PARTLY, write_roots
from pipm.store.stored_originals import originals_files, record_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.adopt_context import AdoptContext
    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState, WorkerPool, WorkQueue
    from pipm.fs.durability import SmallFile
    from pipm.share.adopt_job import AdoptJob
    from pipm.share.adopt_worker import AdoptResult, Stage

    AtWork = tuple[AdoptJob, AdoptContext]


def run_stages(at_work: Sequence[AtWork], shared_state: SharedState, progress: Progress) -> None:
    """Adopt ``left`` of each job and count it there; all contexts belong to one store and one run."""
    store = at_work[0][1].store
    jobs = [job for job, _ in at_work]
    readers = [OriginalsReader(store, job) for job in jobs]
    files = lines(jobs)
    order = work_order(jobs)
    with ExitStack() as stack:
        areas = [
            [_area(context.staging, number, stack) for number in range(worker_count(files))]
            for _, context in at_work
        ]

        def work(number: int, queue: WorkQueue) -> AdoptWorker:
            compilers: dict[tuple[str, bytes], CompilerPools] = {}
            releases = Releases(store)
            environments = [
                EnvironmentWorker(context, area[number], job.left, _compiler(context, compilers), releases)
                for (job, context), area in zip(at_work, areas, strict=True)
            ]
            mine = order[number :: worker_count(files)]
            originals = OriginalsShare(readers, mine, releases, shared_state)
            return AdoptWorker(environments, order, queue, releases, originals)

        progress.phase("Sharing files", files)
        pool = stack.enter_context(worker_pool(work, len(order), files, shared_state, progress))
        # The roots are written before the first file changes. Then all dirty data is synced: after a power
        # cut a file that shares unwritten blocks could contain zeros.
        notes: list[list[bytes]] = pool.run("note")
        shared_state.check()
        records = [reader.kept + b"".join(parts) for reader, *parts in zip(readers, *notes, strict=True)]
        _write_first_roots(at_work, jobs, records, progress)
        _sync(at_work)
        _Stages(at_work, pool, shared_state).run()


def _area(folder: int, number: int, stack: ExitStack) -> Staging:
    area = Staging(folder, str(number))
    stack.callback(area.close)
    return area


def _compiler(context: AdoptContext, known: dict[tuple[str, bytes], CompilerPools]) -> CompilerPools | None:
    """Return the compiler for the context's interpreter: one for all environments with the same bytecode."""
    interpreter = context.interpreter
    if interpreter is None:
        return None
    key = (interpreter.cache_tag, interpreter.magic)
    if key not in known:
        known[key] = CompilerPools(CompilerProcess(interpreter), open_pools(context.store, interpreter))
    return known[key]


class _Stages:
    def __init__(self, at_work: Sequence[AtWork], pool: WorkerPool, shared_state: SharedState) -> None:
        self._at_work = at_work
        self._pool = pool
        self._shared_state = shared_state
        self._symlinks = any(context.mode is LinkMode.SYMLINK for _, context in at_work)

    def run(self) -> None:
        answers = self._stage("adopt")
        _sync(self._at_work)
        self._publish(answers)
        for (job, _), several in zip(self._at_work, answers, strict=True):
            job.entries.update(entry for answer in several for entry in answer.entries)
        used = [job.entries for job, _ in self._at_work]
        adopting = [ADOPTING] * len(self._at_work)
        if self._symlinks:  # roots and entries must be on disk before symlinks point to them
            _write_roots(self._at_work, adopting, used)
            _sync(self._at_work)
            answers = self._stage("share")
        unfinished = any(answer.unfinished for several in answers for answer in several)
        if unfinished:
            _sync(self._at_work)
            answers = self._stage("finish_bytecode")
        if self._symlinks or unfinished:
            _sync(self._at_work)
        # A file that could not be shared now may have the time of a shared one: PARTLY makes the next run
        # compare files.
        again = [
            any(left.reason.passing for answer in several for left in answer.statistics.left)
            for several in answers
        ]
        _write_roots(self._at_work, [PARTLY if one else ADOPTED for one in again], used)
        for (job, _), several in zip(self._at_work, answers, strict=True):
            for answer in several:
                job.statistics.add(answer.statistics)

    def _stage(self, stage: Stage) -> list[list[AdoptResult]]:
        """Run a stage; return the results by environment."""
        by_worker: list[list[AdoptResult]] = self._pool.run(stage)
        self._shared_state.check()
        return [list(several) for several in zip(*by_worker, strict=True)]

    def _publish(self, answers: list[list[AdoptResult]]) -> None:
        """Rename copied objects and entries to their names in the store; all of them are synced."""
        context = self._at_work[0][1]
        rooms = ObjectFolders(context.store.objects)
        flat = [answer for several in answers for answer in several]
        for answer in flat:
            for name, new in answer.pending.items():
                rooms.make(name)
                give_name(new, context.store.objects, name)
        for answer in flat:
            for prepared in answer.prepared:
                if prepared.tree:
                    publish_entry(context.store, context.run, prepared.tree, prepared.label)
        for (job, one), several in zip(self._at_work, answers, strict=True):
            for answer in several:
                for prepared in answer.prepared:
                    if not prepared.tree:
                        complete_entry(one, prepared, job.statistics)


def _write_first_roots(
    at_work: Sequence[AtWork], jobs: Sequence[AdoptJob], originals: Sequence[bytes], progress: Progress
) -> None:
    """Write the root of each environment and the original modes and times of files that may be shared."""
    entries = [job.locked.entries for job in jobs]
    adopting = [ADOPTING] * len(at_work)
    store = at_work[0][1].store
    before = [record_blocks(store, job.locked.environment.path) for job in jobs]
    records = zip((job.locked.environment.path for job in jobs), originals, strict=True)
    try:
        with ExitStack() as stack:
            _write_roots(at_work, adopting, entries, list(originals_files(store, records, stack)))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        progress.note("no space to record the modes and times of files: a release will not restore them")
        _write_roots(at_work, adopting, entries)
    for job, taken in zip(jobs, before, strict=True):
        job.statistics.taken += record_blocks(store, job.locked.environment.path) - taken


def _write_roots(
    at_work: Sequence[AtWork],
    states: Iterable[str],
    used: Iterable[Iterable[str]],
    others: Iterable[SmallFile] = (),
) -> None:
    """Write *others*, then the root of each environment with its state and the entries it uses."""
    roots = [
        root_of(context.environment, context.mode.value, state, tuple(sorted(entries)), job.locked.released)
        for (job, context), state, entries in zip(at_work, states, used, strict=True)
    ]
    write_roots(at_work[0][1].store, roots, others)


def _sync(at_work: Sequence[AtWork]) -> None:
    sync_file_systems([at_work[0][1].store.v1, *(context.root for _, context in at_work)])
