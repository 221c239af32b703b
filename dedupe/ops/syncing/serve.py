"""`pipm sync --link-mode finder`: distributions that get no modules in the environment (design D8).

A distribution that the finder serves has a blueprint without modules: metadata, scripts and data are made
like any other's. The table is put there first: the hook passes over what has no metadata folder (yet), so
each distribution is importable from the moment it is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.core.modules import outline
from dedupe.env.folded import Folded, read_receipt, record_digest
from dedupe.env.installed import installed
from dedupe.fs.sync import sync_file_system
from dedupe.ops.folding.entry_bytecode import compile_entries
from dedupe.ops.folding.fold import compile_hook, interpreter_of, put, settle_time, site_of
from dedupe.ops.folding.folding import KEPT_METADATA
from dedupe.ops.folding.hiding import hide
from dedupe.ops.folding.members import OUTDATED, Shape, apart, path_file_text
from dedupe.ops.folding.metadata import make_real
from dedupe.ops.syncing.service import has_room_for_bytecode
from dedupe.plan.materialise import Wanted
from dedupe.store.wheels import load_manifest
from dedupe.wheel.blueprints import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupe.core.blueprint import Blueprint
    from dedupe.core.modules import Outline
    from dedupe.env.environment import Environment
    from dedupe.finder.table import LockRow
    from dedupe.ops.crew import Pulse
    from dedupe.ops.progress import Progress
    from dedupe.ops.syncing.standing import Survey
    from dedupe.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """``wanted`` is what an environment gets files of; ``served`` are those of it without modules.

    ``kept`` are served as before though nobody wants them: pip, say.
    """

    wanted: list[Wanted]
    served: list[tuple[Wanted, Outline]]
    kept: list[tuple[Outline, Folded]]


def divide(
    store: Store, environment: Environment, root: int, survey: Survey, wanted: list[Wanted]
) -> Service:
    """Decide what the finder serves besides what it keeps; the others must lie together."""
    site = site_of(environment)
    outlines = [outline(_paths(one.blueprint)) for one in wanted]
    shapes = [Shape(one, of.entry) for one, of in zip(outlines, wanted, strict=True)]
    together = apart(store, root, site, shapes)
    result, served = [], []
    for number, one in enumerate(wanted):
        if number in together:
            result.append(one)
        else:
            result.append(reduced(one))
            served.append((one, outlines[number]))
    kept = _kept(store, root, survey, wanted)
    return Service(wanted=result, served=served, kept=kept)


def _kept(store: Store, root: int, survey: Survey, wanted: Sequence[Wanted]) -> list[tuple[Outline, Folded]]:
    """What the finder serves already and stays though no lock names it."""
    receipt = read_receipt(root)
    if receipt is None:
        return []
    names = survey.kept() - {one.blueprint.name for one in wanted}
    there = {one.metadata for one in survey.standing() if one.name in names}
    rows = [row for row in receipt.folded.values() if row.metadata in there]
    return [(outline(_paths(load_blueprint(store, row.entry))), row) for row in rows]


def reduced(one: Wanted) -> Wanted:
    """The same distribution without its modules."""
    return Wanted(entry=one.entry, blueprint=without_modules(one.blueprint), direct_url=one.direct_url)


def without_modules(blueprint: Blueprint) -> Blueprint:
    """A blueprint of metadata, scripts, path files and data alone."""
    first = blueprint.described[0]
    rows = [row for row in zip(first.names, first.sizes, strict=True) if row[0] in KEPT_METADATA]
    metadata = first._replace(
        names=tuple(name for name, _ in rows), sizes=tuple(size for _, size in rows), empty=()
    )
    copies = tuple(row for row in blueprint.copies if not row[0].endswith(OUTDATED))
    return blueprint._replace(folders=(), described=(metadata,), copies=copies)


def served_entries(root: int) -> frozenset[str]:
    """The entries that the finder serves in the environment open as *root*."""
    receipt = read_receipt(root)
    if receipt is None:
        return frozenset()
    return frozenset(folded.entry for folded in receipt.folded.values())


def prepare(
    store: Store,
    environment: Environment,
    root: int,
    service: Service,
    lock: LockRow,
    pulse: Pulse,
    progress: Progress,
) -> None:
    """Put the finder into the environment before its distributions; *lock* is the table's word on it."""
    interpreter = interpreter_of(environment)
    entries = [(one.entry, load_manifest(store, one.entry)) for one, _ in service.served if not _done(one)]
    if has_room_for_bytecode(store, [manifest for _, manifest in entries]):
        compile_entries(store, entries, interpreter, pulse)
    else:
        progress.note(f"too few free inodes for bytecode in the store {store.path}: each start compiles anew")
    put(store, environment, root, interpreter, _rows(store, service, {}), lock)
    compile_hook(store, environment, root, interpreter)


def _done(one: Wanted) -> bool:
    """Whether there is nothing in it that could be compiled."""
    return not any(folder.sources for folder in one.blueprint.folders)


def finish(
    environment: Environment,
    root: int,
    store: Store,
    service: Service,
    lock: LockRow,
    *,
    hidden: bool,
) -> None:
    """Note what stands there now, and let metadata be real files, or (*hidden*) the finder's alone."""
    interpreter = interpreter_of(environment)
    records = {one.metadata: record_digest(one.record) for one in installed(environment, root)}
    make_real(root, site_of(environment), [one.blueprint.metadata for one, _ in service.served])
    table = put(store, environment, root, interpreter, _rows(store, service, records), lock)
    sync_file_system(root)
    settle_time(environment, root, table, interpreter)
    if hidden:
        hide(store, environment, root, table, interpreter)


def _rows(store: Store, service: Service, records: dict[str, str]) -> list[tuple[Outline, Folded]]:
    return [
        (
            shape,
            Folded(
                metadata=one.blueprint.metadata,
                entry=one.entry,
                record=records.get(one.blueprint.metadata, ""),
                bytecode=(),
                dropped=tuple(
                    (name, path_file_text(store, one.entry, name))
                    for name, _ in one.blueprint.copies
                    if name.endswith(OUTDATED)
                ),
            ),
        )
        for one, shape in service.served
    ] + service.kept


def _paths(blueprint: Blueprint) -> list[str]:
    paths = [
        f"{folder.path}/{name}" if folder.path else name
        for folder in blueprint.folders
        for name in (*folder.names, *(name for name, _ in folder.empty))
    ]
    return paths + [name for name, _ in blueprint.copies]
