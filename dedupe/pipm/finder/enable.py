"""`pipm adopt --link-mode finder`: import modules from the store, and remove them from the environment.

Theory of operation. First the environment is adopted by symlinks: that compares each file, adds it to the
store durably, and writes the root. Then the table and the hook are written and synced. Last the symlinks are
removed. Each import finds its module at any time: while a symlink exists, Python uses it before the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.bytecode.entry_bytecode import compile_entries
from pipm.context.environment_lock import root_of
from pipm.context.workers import SharedState, interruptible
from pipm.env.receipt import ServedDistribution, read_receipt, record_digest
from pipm.finder.colocation import needs_real_files
from pipm.finder.distributions import site_distributions
from pipm.finder.install_hook import compile_hook, install_hook, interpreter_of, note_site_time
from pipm.finder.metadata_files import make_real
from pipm.finder.metadata_store import restore_metadata, store_metadata
from pipm.finder.module_removal import plan_removal, remove_modules
from pipm.finder.restore_links import restore_links
from pipm.finder.state_before import originals_below
from pipm.fs.durability import sync_file_system
from pipm.share.prepare_adopt import entries_by_release
from pipm.store.roots import ADOPTED, find_root, write_root

if TYPE_CHECKING:
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.distributions import SiteDistribution
    from pipm.finder.module_removal import ModuleRemoval
    from pipm.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class FinderContents:
    """The distributions that the finder will serve in one environment, with the files to remove for each."""

    several: list[tuple[SiteDistribution, ServedDistribution]]
    removals: list[tuple[SiteDistribution, ModuleRemoval]]


def enable_finder(store: Store, environment: Environment, root: int, *, dist_info: bool | None = None) -> int:
    """Make the finder serve each distribution that it can; the environment is open as *root* and locked.

    *dist_info* is True if metadata folders stay, False if they are removed, and None for no change. Returns
    the number of removed names.
    """
    shared_state = SharedState()
    interpreter = interpreter_of(environment)
    site = environment.site
    with interruptible(shared_state):
        had_no_dist_info = restore_metadata(store, root)
        served = _served(store, environment, root, interpreter)
        entries = [one.entry for one, _ in served.several if one.manifest is not None]
        compile_entries(store, entries, interpreter, shared_state)
        shared_state.check()
        _register(store, environment, entries)
        hides = dist_info is False or (dist_info is None and had_no_dist_info)
        layouts = [(one.layout, row) for one, row in served.several]
        table = install_hook(store, environment, root, interpreter, layouts, metadata=hides)
        compile_hook(store, environment, root, interpreter)
        make_real(root, site, [one.distribution.metadata for one, _ in served.removals])
        sync_file_system(store.v1)
        sync_file_system(root)
        count = sum(remove_modules(root, site, one, removal) for one, removal in served.removals)
        note_site_time(environment, root, table, interpreter)
        sync_file_system(root)
        if hides:
            store_metadata(store, environment, root, table, interpreter)
    return count


def _served(store: Store, environment: Environment, root: int, interpreter: Interpreter) -> FinderContents:
    site = environment.site
    known = find_root(store, environment.path)
    entries = entries_by_release(() if known is None else known.entries)
    receipt = read_receipt(root)
    several = site_distributions(store, environment, root, site, receipt, entries)
    together = needs_real_files(store, root, site, [one.stored_layout for one in several])
    chosen, removals = [], []
    for number, one in enumerate(several):
        if one.manifest is None:
            continue
        if number in together:
            if one.served is not None:  # a newly installed distribution needs it in site-packages
                originals = originals_below(store, environment, [f"{site}/{one.served.metadata}"])
                restore_links(store, root, site, one, one.served, interpreter, originals)
            continue
        removal = plan_removal(store, root, site, one, interpreter)
        if removal is None:
            continue
        chosen.append((one, _served_distribution(one, removal)))
        removals.append((one, removal))
    return FinderContents(several=chosen, removals=removals)


def _served_distribution(one: SiteDistribution, removal: ModuleRemoval) -> ServedDistribution:
    """Return the row of the receipt for a distribution."""
    if one.served is not None:
        bytecode = tuple(sorted({*one.served.bytecode, *removal.bytecode}))
        return one.served._replace(bytecode=bytecode)
    return ServedDistribution(
        metadata=one.distribution.metadata,
        entry=one.entry,
        record=record_digest(one.distribution.record),
        bytecode=tuple(sorted(removal.bytecode)),
        dropped=tuple(removal.dropped),
    )


def _register(store: Store, environment: Environment, entries: list[str]) -> None:
    """Write the root, which must be durable before the first file is removed."""
    known = find_root(store, environment.path)
    used = set(entries) | set(() if known is None else known.entries)
    root = root_of(environment, "finder", ADOPTED, tuple(sorted(used)))
    write_root(store, root if known is None else root._replace(lock=known.lock, released=known.released))
