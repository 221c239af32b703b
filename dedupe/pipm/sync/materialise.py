"""Carrying out the plan of an environment: folders, bytecode, scripts, metadata, RECORD at the very last.

Where there is much to do several processes share it: first the folders with their bytecode, then, when all
of those are there, the metadata. A distribution whose RECORD is there is complete. Whatever ends this in
between leaves files that the next sync finds: the root names the entries before the first file is made.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.sync_bytecode import Compiler
from pipm.context.workers import crew_at_work, processes
from pipm.fs.folder_filler import Filler
from pipm.fs.staging import Staging
from pipm.sync.materialise_worker import FOLDERS, RECORDS, Done, Hand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.context.sync_context import Ground
    from pipm.context.workers import Tickets
    from pipm.core.plan.materialise_plan import Materialisation, PlannedFolder
    from pipm.fs.folder_filler import Left
    from pipm.sync.materialise_worker import Away

_PARTS = 32
"""Into so many parts several processes divide the folders; whoever is done with one takes the next."""
_FOLDER = 3
"""What a folder costs, in files."""


class Materialised(NamedTuple):
    """What was made: ``files`` of wheels and bytecode, of which ``fallen`` had to be copied.

    ``records`` are the RECORDs of what the finder serves, by metadata folder, and ``away`` what belongs into
    such folders, where they were not made. ``left`` says how each folder was when the work in it ended.
    """

    files: int
    fallen: int
    records: Mapping[str, bytes]
    away: Away
    left: Left


def materialise(ground: Ground, plan: Materialisation) -> Materialised:
    """Let all files of *plan* appear in the environment; raises OSError and PipmError."""
    files = plan.files
    hands = processes(files)
    parts = _divided(plan.folders, _PARTS if hands > 1 else 1)
    described = [plan.described[number::hands] for number in range(hands)]

    def work(number: int, tickets: Tickets) -> Hand:
        return Hand(ground, parts, described[number], number, tickets)

    ground.progress.phase("Linking", files)
    with crew_at_work(work, len(parts), files, ground.pulse, ground.progress) as crew:
        first: list[Done] = crew.run((FOLDERS, frozenset()))
        late = _compiled(ground, first)
        last: list[Done] = crew.run((RECORDS, late.uncompiled))
    done = [*first, late, *last]
    return Materialised(
        files=sum(one.files for one in done),
        fallen=sum(one.fallen for one in done),
        records={name: record for one in last for name, record in one.records.items()},
        away={name: files for one in last for name, files in one.away.items()},
        left=_merged([[one.left for one in stage] for stage in (first, [late], last)]),
    )


def _compiled(ground: Ground, done: Sequence[Done]) -> Done:
    """Compile what the store had no bytecode of, and link it."""
    area = Staging(ground.staging, "late")
    filler = Filler(ground.mode, area)
    compiler = Compiler(ground, filler)
    try:
        for one in done:
            compiler.take(one.missing)
        compiler.finish()
    finally:
        compiler.close()
        area.close()
    return Done(files=filler.placed, fallen=filler.fallen, left=compiler.left, uncompiled=compiler.uncompiled)


def _divided(folders: Sequence[PlannedFolder], count: int) -> list[Sequence[PlannedFolder]]:
    """Divide *folders* into at most *count* parts of about the same work, which follow each other."""
    costs = [_FOLDER + sum(len(part.names) for part in (*one.links, *one.copies)) for one in folders]
    enough = sum(costs) / count
    parts: list[Sequence[PlannedFolder]] = []
    begin = done = 0
    for end, cost in enumerate(costs, 1):
        done += cost
        if done >= enough * (len(parts) + 1) or end == len(costs):
            parts.append(folders[begin:end])
            begin = end
    return parts


def _merged(stages: Sequence[Sequence[Left]]) -> Left:
    """How folders were left in the last stage that went there; of two in one nobody knows which was later."""
    found: Left = {}
    for several in stages:
        times = Counter(path for left in several for path in left)
        for left in several:
            found |= left
        for path, number in times.items():
            if number > 1:
                del found[path]
    return found
