"""`pipm sync --link-mode finder`: distributions that get no modules in the environment (design D8).

A distribution that the finder serves has a blueprint without modules: metadata, scripts and data are made
like any other's. The table is put there first: the hook passes over what has no metadata folder (yet), so
each distribution is importable from the moment it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pipm import __version__
from pipm.core.import_names import Kind, Module, module_table, outline
from pipm.core.install_plan import OUTDATED, without_modules
from pipm.core.plan.materialise_plan import Wanted
from pipm.env.receipt import Folded, read_receipt, receipt_bytes, record_digest
from pipm.finder.colocation import Shape, apart, path_file_text
from pipm.finder.environment_state import note_receipt
from pipm.finder.install_hook import compile_hook, interpreter_of, put_table, settle_time, site_of
from pipm.finder.metadata_store import hide, note_away
from pipm.fs.beneath import read_beneath
from pipm.fs.cache_files import read_value, write_value
from pipm.fs.durability import sync_file_system
from pipm.store.bytecode_pool import is_compiled
from pipm.wheel.stored_install_plans import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import Pulse
    from pipm.core.install_plan import Blueprint
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.import_table import LockRow, Table
    from pipm.store.layout import Store
    from pipm.sync.installed_state import Survey
    from pipm.sync.materialise_worker import Away

_NOTHING: Mapping[str, Any] = {}
_FORMAT = 1
"""Of what `divide` decides: another number, and nothing is remembered."""


class Service(NamedTuple):
    """``wanted`` is what an environment gets files of; ``served`` are those of it without modules.

    ``kept`` are served as before though nobody wants them: pip, say. ``modules`` are all import names, by
    the numbers of ``served`` and behind them ``kept``; ``dropped`` are, for each of ``served``, path files
    that it does not get, with their text.
    """

    wanted: list[Wanted]
    served: list[Wanted]
    kept: list[Folded]
    modules: Mapping[str, Module]
    dropped: Sequence[tuple[tuple[str, str], ...]]

    def rows(self, records: Mapping[str, str]) -> list[Folded]:
        """What the receipt says; *records* are the digests of RECORDs, by metadata folder."""
        return [
            Folded(
                metadata=one.blueprint.metadata,
                entry=one.entry,
                record=records.get(one.blueprint.metadata, ""),
                bytecode=(),
                dropped=dropped,
            )
            for one, dropped in zip(self.served, self.dropped, strict=True)
        ] + self.kept


def divide(
    store: Store, environment: Environment, root: int, survey: Survey, wanted: Sequence[Wanted]
) -> Service:
    """Decide what the finder serves besides what it keeps; the others must lie together.

    That follows from the entries alone, so it is remembered; *wanted* need no modules.
    """
    kept = _kept(root, survey, wanted)
    extensions = interpreter_of(environment).extensions
    entries = [one.entry for one in wanted], [row.entry for row in kept]
    state = f"{_FORMAT} {__version__} {entries} {extensions}"
    remembered = read_value("finder", state)
    if remembered is None:
        remembered = _divided(store, environment, root, wanted, kept, extensions)
        write_value("finder", state, remembered)
    together, modules, dropped = remembered
    result, served = [], []
    for number, one in enumerate(wanted):
        if number in together:
            whole = load_blueprint(store, one.entry)
            result.append(Wanted(entry=one.entry, blueprint=whole, direct_url=one.direct_url))
        else:
            bare = without_modules(one.blueprint)
            served.append(Wanted(entry=one.entry, blueprint=bare, direct_url=one.direct_url, served=True))
            result.append(served[-1])
    table = {name: Module(Kind(kind), *rest) for name, (kind, *rest) in modules.items()}
    return Service(wanted=result, served=served, kept=kept, modules=table, dropped=dropped)


def _divided(
    store: Store,
    environment: Environment,
    root: int,
    wanted: Sequence[Wanted],
    kept: Sequence[Folded],
    extensions: Sequence[str],
) -> tuple[Any, ...]:
    """What must lie together by its numbers, the import names of all else, path files that go."""
    outlines = [outline(_paths(load_blueprint(store, one.entry))) for one in wanted]
    shapes = [Shape(one, of.entry) for one, of in zip(outlines, wanted, strict=True)]
    together = apart(store, root, site_of(environment), shapes)
    served = [number for number in range(len(wanted)) if number not in together]
    several = [outlines[number] for number in served]
    several += [outline(_paths(load_blueprint(store, row.entry))) for row in kept]
    modules = module_table(several, range(len(several)), extensions)
    dropped = [
        tuple(
            (name, path_file_text(store, wanted[number].entry, name))
            for name, *_ in wanted[number].blueprint.copies
            if name.endswith(OUTDATED)
        )
        for number in served
    ]
    plain = {name: (kind.value, where, file) for name, (kind, where, file) in modules.items()}
    return tuple(sorted(together)), plain, dropped


def _kept(root: int, survey: Survey, wanted: Sequence[Wanted]) -> list[Folded]:
    """What the finder serves already and stays though no lock names it."""
    receipt = read_receipt(root)
    if receipt is None:
        return []
    names = survey.kept() - {one.blueprint.name for one in wanted}
    there = {one.metadata for one in survey.standing() if one.name in names}
    return [row for row in receipt.folded.values() if row.metadata in there]


class Serving:
    """The finder in one environment, open as *root*, while a sync changes what it serves.

    *lock* is the table's word on the lock file that the environment follows. With *hidden* metadata is the
    finder's alone. A *fresh* environment had nothing that a power cut could take: there the next sync looks
    whether all of it came to the disk.
    """

    def __init__(
        self,
        store: Store,
        environment: Environment,
        root: int,
        service: Service,
        lock: LockRow,
        *,
        hidden: bool,
        fresh: bool,
    ) -> None:
        self.store, self.environment, self.root, self.service = store, environment, root, service
        self._interpreter = interpreter_of(environment)
        self._lock = lock
        self._hidden, self._fresh = hidden, fresh

    @property
    def kept(self) -> tuple[str, ...]:
        """The entries that are used there though nobody wants them."""
        return tuple(row.entry for row in self.service.kept)

    @property
    def hides_at_once(self) -> bool:
        """Whether no metadata folder needs to be made: no interpreter knows the environment yet."""
        return self._hidden and self._fresh

    def compile(self, pulse: Pulse, progress: Progress) -> None:
        """Let the store have the bytecode of what is served; the environment stays as it is."""
        entries = [one.entry for one in self.service.served]
        _compile(self.store, entries, self._interpreter, pulse, progress)

    def begin(self) -> Table:
        """Put the finder into the environment, before its distributions."""
        store, service, interpreter = self.store, self.service, self._interpreter
        rows = service.rows({})
        table = put_table(store, self.environment, self.root, interpreter, rows, service.modules, self._lock)
        compile_hook(store, self.environment, self.root, interpreter)
        return table

    def end(self, table: Table, written: Mapping[str, bytes] = _NOTHING, away: Away = _NOTHING) -> None:
        """Note what stands there now, or let the finder alone tell of it.

        *table* is that of `begin`; *written* are new RECORDs, by metadata folder, *away* is what belongs into
        such folders and lies in none.
        """
        root, interpreter = self.root, self._interpreter
        digests = {}
        for one in self.service.served:
            metadata = one.blueprint.metadata
            record = written.get(metadata) or read_beneath(root, f"{table.site}/{metadata}/RECORD")
            digests[metadata] = record_digest(record or b"")
        note_receipt(root, receipt_bytes(self.store.path, table.site, self.service.rows(digests)))
        if not self._fresh:
            sync_file_system(root)
        if away:
            note_away(root, away)
            table = table._replace(hidden=True)
        settle_time(self.environment, root, table, interpreter)
        if self._hidden and not away:
            hide(self.store, self.environment, root, table, interpreter)


def _compile(
    store: Store, entries: list[str], interpreter: Interpreter, pulse: Pulse, progress: Progress
) -> None:
    pool = interpreter.pool("")
    lacking = [entry for entry in entries if not is_compiled(store, entry, pool)]
    if not lacking:
        return
    from pipm.bytecode.entry_bytecode import compile_entries  # noqa: PLC0415 - once an entry
    from pipm.store.entries import load_manifest  # noqa: PLC0415
    from pipm.sync.choose_finder import has_room_for_bytecode  # noqa: PLC0415

    if has_room_for_bytecode(store, [load_manifest(store, entry) for entry in lacking]):
        compile_entries(store, lacking, interpreter, pulse)
    else:
        progress.note(f"too few free inodes for bytecode in the store {store.path}: each start compiles anew")


def _paths(blueprint: Blueprint) -> list[str]:
    paths = [
        f"{folder.path}/{name}" if folder.path else name
        for folder in blueprint.folders
        for name in (*folder.names, *(name for name, _, _ in folder.empty))
    ]
    return paths + [name for name, *_ in blueprint.copies]
