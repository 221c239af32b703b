"""`pipm adopt --link-mode finder`: modules are imported from the store and leave the environment.

Theory of operation. An adoption by symlinks comes first: it proves each file equal, lets the store have it
durably, and writes the root. Then the table and the hook are put into the environment and synced, and
last the symlinks are removed. Between any two of these steps every import finds its module: while a
symlink is there, it comes before the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.bytecode.entry_bytecode import compile_entries
from pipm.context.environment_lock import root_of
from pipm.context.workers import Pulse, interruptible
from pipm.env.receipt import Folded, read_receipt, record_digest
from pipm.finder.colocation import apart
from pipm.finder.distributions import members
from pipm.finder.install_hook import compile_hook, interpreter_of, put, settle_time, site_of
from pipm.finder.metadata_files import make_real
from pipm.finder.metadata_store import bring_back, hide
from pipm.finder.module_removal import plan_removal, remove
from pipm.finder.restore_links import restore
from pipm.fs.durability import sync_file_system
from pipm.share.prepare_adopt import entries_by_release
from pipm.store.roots import ADOPTED, find_root, write_root

if TYPE_CHECKING:
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.distributions import Member
    from pipm.finder.module_removal import Removal
    from pipm.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What the finder is to serve in one environment: its members, with what goes of each from the disk."""

    several: list[tuple[Member, Folded]]
    removals: list[tuple[Member, Removal]]


def fold(store: Store, environment: Environment, root: int, *, dist_info: bool | None = None) -> int:
    """Let the finder serve what it can; the environment is open as *root* and locked.

    *dist_info* says whether metadata folders stay; None leaves that as it is. Returns how many names were
    removed.
    """
    pulse = Pulse()
    interpreter = interpreter_of(environment)
    site = site_of(environment)
    with interruptible(pulse):
        were_hidden = bring_back(store, root)
        served = _served(store, environment, root, interpreter)
        entries = [one.entry for one, _ in served.several if one.manifest is not None]
        compile_entries(store, entries, interpreter, pulse)
        pulse.check()
        _register(store, environment, entries)
        table = put(
            store, environment, root, interpreter, [(one.outline, row) for one, row in served.several]
        )
        compile_hook(store, environment, root, interpreter)
        make_real(root, site, [one.distribution.metadata for one, _ in served.removals])
        sync_file_system(store.v1)
        sync_file_system(root)
        count = sum(remove(root, site, one, removal) for one, removal in served.removals)
        settle_time(environment, root, table, interpreter)
        sync_file_system(root)
        if dist_info is False or (dist_info is None and were_hidden):
            hide(store, environment, root, table, interpreter)
    return count


def _served(store: Store, environment: Environment, root: int, interpreter: Interpreter) -> Served:
    site = site_of(environment)
    known = find_root(store, environment.path)
    entries = entries_by_release(() if known is None else known.entries)
    receipt = read_receipt(root)
    several = members(store, environment, root, site, receipt, entries)
    together = apart(store, root, site, [one.shape for one in several])
    chosen, removals = [], []
    for number, one in enumerate(several):
        if one.manifest is None:
            continue
        if number in together:
            if one.folded is not None:  # something that came since must lie together with it
                restore(store, root, site, one, one.folded, interpreter)
            continue
        removal = plan_removal(store, root, site, one, interpreter)
        if removal is None:
            continue
        chosen.append((one, _folded(one, removal)))
        removals.append((one, removal))
    return Served(several=chosen, removals=removals)


def _folded(one: Member, removal: Removal) -> Folded:
    """What the receipt is to say of a member."""
    if one.folded is not None:
        bytecode = tuple(sorted({*one.folded.bytecode, *removal.bytecode}))
        return one.folded._replace(bytecode=bytecode)
    return Folded(
        metadata=one.distribution.metadata,
        entry=one.entry,
        record=record_digest(one.distribution.record),
        bytecode=tuple(sorted(removal.bytecode)),
        dropped=tuple(removal.dropped),
    )


def _register(store: Store, environment: Environment, entries: list[str]) -> None:
    """The root is durable before the first file goes."""
    known = find_root(store, environment.path)
    used = set(entries) | set(() if known is None else known.entries)
    root = root_of(environment, "finder", ADOPTED, tuple(sorted(used)))
    write_root(store, root if known is None else root._replace(lock=known.lock))
