"""`pipm sync --link-mode finder`: distributions without modules in the environment.

A served distribution has an install plan without modules; its metadata, scripts and data are installed like
any other's. The table is written first: the hook ignores distributions without a metadata folder, so each one
can be imported from the moment when it is installed.
"""

from __future__ import annotations

from pipm import __version__
from pipm.core.import_names import Kind, Module, import_layout, module_table
from pipm.core.install_plan import OUTDATED, without_modules
from pipm.core.named_tuple import NamedTuple
from pipm.core.plan.materialise_plan import at_hand
from pipm.env.receipt import ServedDistribution, read_receipt, receipt_bytes, record_digest
from pipm.finder.colocation import StoredLayout, needs_real_files, path_file_text
from pipm.finder.environment_state import note_receipt
from pipm.finder.install_hook import compile_hook, install_hook_for, interpreter_of, note_site_time
from pipm.finder.metadata_store import note_stored_metadata, store_metadata
from pipm.fs.beneath import read_beneath
from pipm.fs.cache_files import read_value, write_value
from pipm.fs.durability import sync_file_system
from pipm.store.bytecode_pool import is_compiled
from pipm.store.layers import home_of
from pipm.wheel.stored_install_plans import load_install_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.install_plan import InstallPlan
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.import_table import ImportTable, LockRow
    from pipm.store.layout import Store
    from pipm.sync.installed_state import EnvironmentScan
    from pipm.sync.materialise_worker import Away

_NOTHING: Mapping[str, Any] = {}
_FORMAT = 1
"""The format of the cached result of `_divided`."""


class FinderPlan(NamedTuple):
    """The distributions of an environment: ``wanted`` get files, and ``served`` of these get no modules.

    ``kept`` are served as before, although no lock names them (pip, say). ``modules`` are all import names,
    by the indexes of ``served`` followed by ``kept``. ``dropped`` are for each of ``served`` the path files
    that are not installed, with their text; ``layers`` the layer that has its entry, or "".
    """

    wanted: list[Wanted]
    served: list[Wanted]
    kept: list[ServedDistribution]
    modules: Mapping[str, Module]
    dropped: Sequence[tuple[tuple[str, str], ...]]
    layers: Sequence[str]

    def rows(self, records: Mapping[str, str]) -> list[ServedDistribution]:
        """Return the rows of the receipt; *records* are the digests of RECORDs by metadata folder."""
        return [
            ServedDistribution(
                metadata=one.install_plan.metadata,
                entry=one.entry,
                record=records.get(one.install_plan.metadata, ""),
                bytecode=(),
                dropped=dropped,
                layer=layer,
            )
            for one, dropped, layer in zip(self.served, self.dropped, self.layers, strict=True)
        ] + self.kept


def plan_finder(
    store: Store, environment: Environment, root: int, scan: EnvironmentScan, wanted: Sequence[Wanted]
) -> FinderPlan:
    """Decide which of *wanted* the finder serves; the others need real files.

    The result depends only on the entries, so it is cached. The plans in *wanted* need no modules.
    """
    kept = _kept(root, scan, wanted)
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
            if home_of(store, one.entry) is not store:
                from pipm.share.copy_from_layer import take_in  # noqa: PLC0415 - takes 12 ms

                take_in(store, [one.entry])
            whole = load_install_plan(store, one.entry)
            result.append(one._replace(load=at_hand(whole)))
        else:
            bare = without_modules(one.install_plan)
            served.append(one._replace(load=at_hand(bare), served=True))
            result.append(served[-1])
    table = {name: Module(Kind(kind), *rest) for name, (kind, *rest) in modules.items()}
    homes = [home_of(store, one.entry) for one in served]
    layers = ["" if home is store else home.path for home in homes]
    return FinderPlan(wanted=result, served=served, kept=kept, modules=table, dropped=dropped, layers=layers)


def _divided(
    store: Store,
    environment: Environment,
    root: int,
    wanted: Sequence[Wanted],
    kept: Sequence[ServedDistribution],
    extensions: Sequence[str],
) -> tuple[Any, ...]:
    """Return the indexes that need real files, the import names of the others, and dropped path files."""
    layouts = [import_layout(_paths(load_install_plan(store, one.entry))) for one in wanted]
    stored_layouts = [StoredLayout(one, of.entry) for one, of in zip(layouts, wanted, strict=True)]
    together = needs_real_files(store, root, environment.site, stored_layouts)
    served = [number for number in range(len(wanted)) if number not in together]
    several = [layouts[number] for number in served]
    several += [import_layout(_paths(load_install_plan(store, row.entry))) for row in kept]
    modules = module_table(several, range(len(several)), extensions)
    dropped = [
        tuple(
            (name, path_file_text(store, wanted[number].entry, name))
            for name, *_ in wanted[number].install_plan.copies
            if name.endswith(OUTDATED)
        )
        for number in served
    ]
    plain = {name: (kind.value, where, file) for name, (kind, where, file) in modules.items()}
    return tuple(sorted(together)), plain, dropped


def _kept(root: int, scan: EnvironmentScan, wanted: Sequence[Wanted]) -> list[ServedDistribution]:
    """Return the rows of served distributions that stay although no lock names them."""
    receipt = read_receipt(root)
    if receipt is None:
        return []
    names = scan.kept() - {one.name for one in wanted}
    there = {one.metadata for one in scan.installed() if one.name in names}
    return [row for row in receipt.served.values() if row.metadata in there]


class FinderSync:
    """Updates the finder of one environment, open as *root*, during a sync.

    *lock* is the table's row about the lock file. With *no_dist_info* the environment has no metadata
    folders. A *fresh* environment is not synced to disk: after a power cut nothing old is lost, and the next
    sync checks it.
    """

    def __init__(
        self,
        store: Store,
        environment: Environment,
        root: int,
        finder_plan: FinderPlan,
        lock: LockRow,
        *,
        no_dist_info: bool,
        fresh: bool,
    ) -> None:
        self.store, self.environment, self.root, self.finder_plan = store, environment, root, finder_plan
        self._interpreter = interpreter_of(environment)
        self._lock = lock
        self._no_dist_info, self._fresh = no_dist_info, fresh
        self.pending = False

    @property
    def kept(self) -> tuple[str, ...]:
        """The entries that the environment uses although no lock names them."""
        return tuple(row.entry for row in self.finder_plan.kept)

    @property
    def starts_without_dist_info(self) -> bool:
        """True if no metadata folder is needed: the environment is new, so no interpreter uses it yet."""
        return self._no_dist_info and self._fresh

    def compile(self, shared_state: SharedState, progress: Progress, *, later: bool) -> None:
        """Compile the served distributions into the store; the environment does not change.

        With *later* much bytecode is not compiled, but ``pending``.
        """
        entries = [one.entry for one in self.finder_plan.served]
        self.pending = _compile(self.store, entries, self._interpreter, shared_state, progress, later=later)

    def begin(self) -> ImportTable:
        """Install the finder into the environment, before its distributions; return the table."""
        store, environment, interpreter = self.store, self.environment, self._interpreter
        rows, modules = self.finder_plan.rows({}), self.finder_plan.modules
        table = install_hook_for(
            store, environment, self.root, interpreter, rows, modules, metadata=self._no_dist_info
        )
        compile_hook(store, environment, self.root, interpreter, fresh=self._fresh)
        return table._replace(lock=self._lock)

    def end(self, table: ImportTable, written: Mapping[str, bytes] = _NOTHING, away: Away = _NOTHING) -> None:
        """Write the receipt of the installed distributions, and remove metadata folders with *no_dist_info*.

        *table* is that of `begin`, *written* are new RECORDs by metadata folder, and *away* the files of
        metadata folders that were not created.
        """
        root, interpreter = self.root, self._interpreter
        digests = {}
        for one in self.finder_plan.served:
            metadata = one.install_plan.metadata
            record = written.get(metadata) or read_beneath(root, f"{table.site}/{metadata}/RECORD")
            digests[metadata] = record_digest(record or b"")
        receipt = receipt_bytes(self.store.path, table.site, self.finder_plan.rows(digests))
        note_receipt(root, receipt, fresh=self._fresh)
        if not self._fresh:
            sync_file_system(root)
        if away:
            note_stored_metadata(root, away)
            table = table._replace(no_dist_info=True)
        note_site_time(self.environment, root, table, interpreter, fresh=self._fresh)
        if self._no_dist_info and not away:
            store_metadata(self.store, self.environment, root, table, interpreter)


def _compile(
    store: Store,
    entries: list[str],
    interpreter: Interpreter,
    shared_state: SharedState,
    progress: Progress,
    *,
    later: bool,
) -> bool:
    """Compile *entries*; return True if that is left for later."""
    pool = interpreter.pool("")
    lacking = [entry for entry in entries if not is_compiled(store, entry, pool)]
    if not lacking:
        return False
    from pipm.bytecode.entry_bytecode import compile_entries  # noqa: PLC0415 - once an entry
    from pipm.bytecode.sync_bytecode import SOON  # noqa: PLC0415
    from pipm.store.entries import load_manifest  # noqa: PLC0415
    from pipm.sync.choose_finder import count_sources, has_room_for_bytecode  # noqa: PLC0415

    manifests = [load_manifest(store, entry) for entry in lacking]
    if not has_room_for_bytecode(store, manifests):
        progress.note(f"too few free inodes for bytecode in the store {store.path}: each start compiles")
    elif later and count_sources(manifests) > SOON:
        return True
    else:
        return not compile_entries(store, lacking, interpreter, shared_state)
    return False


def _paths(install_plan: InstallPlan) -> list[str]:
    paths = [
        f"{folder.path}/{name}" if folder.path else name
        for folder in install_plan.folders
        for name in (*folder.names, *(name for name, _, _ in folder.empty))
    ]
    return paths + [name for name, *_ in install_plan.copies]
