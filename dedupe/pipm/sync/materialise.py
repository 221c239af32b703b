"""Materialising the files of an environment: folders, bytecode, scripts, metadata, and RECORD last.

Several processes share the work: first all folders with their bytecode, then the metadata. A distribution
with a RECORD is complete. After a kill the next sync finds the files: the root lists the entries before the
first file is made.
"""

from __future__ import annotations

from collections import Counter

from pipm.bytecode.sync_bytecode import SOON, SyncBytecode
from pipm.context.workers import worker_count, worker_pool
from pipm.core.named_tuple import NamedTuple
from pipm.fs.folder_filler import FolderFiller
from pipm.fs.staging import Staging
from pipm.sync.materialise_worker import FOLDERS, RECORDS, MaterialiseWorker, StageResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipm.context.sync_context import SyncContext
    from pipm.context.workers import WorkQueue
    from pipm.core.plan.materialise_plan import MaterialisePlan, SeparatePlans
    from pipm.fs.folder_stack import FolderState
    from pipm.sync.materialise_worker import Away

_PARTS = 32
"""Number of parts into which a plan is divided; a process that finished one takes the next."""


class Materialised(NamedTuple):
    """The result: ``files`` of wheels and bytecode were made, and ``copied`` of these had to be copied.

    ``records`` are the RECORDs of served distributions by metadata folder; ``away`` are the files of metadata
    folders that were not created. ``left`` is the state of each folder at the end. ``pending``: bytecode is
    left for later. ``uncompiled``: sources have no bytecode, perhaps only this time.
    """

    files: int
    copied: int
    records: Mapping[str, bytes]
    away: Away
    left: FolderState
    pending: bool
    uncompiled: bool


def materialise(
    context: SyncContext, plan: MaterialisePlan | SeparatePlans, idle: Callable[[], object] = int
) -> Materialised:
    """Make all files of *plan* in the environment; raise OSError and PipmError.

    *idle* is called while worker processes link, if there are any.
    """
    files = plan.files
    workers = worker_count(files)
    parts = plan.parts(_PARTS if workers > 1 else 1)

    def work(number: int, queue: WorkQueue) -> MaterialiseWorker:
        return MaterialiseWorker(context, parts, number, queue)

    context.progress.phase("Linking", files)
    with worker_pool(work, len(parts), files, context.shared_state, context.progress) as pool:
        first: list[StageResult] = pool.run((FOLDERS, frozenset()), idle)
        late, pending = _compiled(context, first)
        last: list[StageResult] = pool.run((RECORDS, late.uncompiled))
    done = [*first, late, *last]
    return Materialised(
        files=sum(one.files for one in done),
        copied=sum(one.copied for one in done),
        records={name: record for one in last for name, record in one.records.items()},
        away={name: files for one in last for name, files in one.away.items()},
        left=_merged([[one.left for one in stage] for stage in (first, [late], last)]),
        pending=pending,
        uncompiled=bool(late.uncompiled),
    )


def _compiled(context: SyncContext, done: Sequence[StageResult]) -> tuple[StageResult, bool]:
    """Compile bytecode that the store lacks, and link it; or return True if some is left for later."""
    area = Staging(context.staging, "late")
    filler = FolderFiller(context.mode, area)
    compiler = SyncBytecode(context, filler)
    try:
        for one in done:
            compiler.take(one.missing)
        pending = context.later and len(compiler.missing) > SOON
        if pending:
            compiler.note_uncompilable()
        else:
            compiler.finish()
            pending = bool(compiler.delayed)
    finally:
        compiler.close()
        area.close()
    made = StageResult(
        files=filler.placed, copied=filler.copied, left=compiler.left, uncompiled=compiler.uncompiled
    )
    return made, pending


def _merged(stages: Sequence[Sequence[FolderState]]) -> FolderState:
    """Return the state of folders after their last stage; without those that two workers changed."""
    found: FolderState = {}
    for several in stages:
        times = Counter(path for left in several for path in left)
        for left in several:
            found |= left
        for path, number in times.items():
            if number > 1:
                del found[path]
    return found
