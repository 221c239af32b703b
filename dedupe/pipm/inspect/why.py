"""`pipm why`: the environments that use an entry, and the facts about a path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipm.core.plan.gc_plan import Limits
from pipm.env.places import marker_of
from pipm.errors import NotFoundError, UsageError
from pipm.gc.collect import preview_collection
from pipm.inspect.path_info import PathFacts, path_facts
from pipm.store.inventory import store_inventory
from pipm.store.layout import open_store
from pipm.store.roots import SYNCED, SYNCING, all_roots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.store.inventory import StoreInventory
    from pipm.store.layout import Store
    from pipm.store.roots import Root


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryUser:
    """An environment that uses an entry, and how it got it: ``adopted``, ``synced``, or a lock's path."""

    path: str
    how: str
    missing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptEntry:
    """An entry with its bytecode and its users; if ``condemned``, `pipm gc` removes it now."""

    name: str
    version: str
    tag: str
    on_disk: int
    users: tuple[EntryUser, ...]
    condemned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The answer: entries, and for a path its facts."""

    entries: tuple[KeptEntry, ...]
    path: PathFacts | None = None


def explain(store_path: str, subject: str) -> Explanation:
    """Explain the distribution or the path *subject*; raise NotFoundError if it is neither."""
    store = open_store(store_path, create=False)
    if store is None:
        raise NotFoundError(
            f"There is no store at {store_path}",
            hint="`pipm adopt ENV` makes it; if it was moved: --store DIR",
        )
    inventory = store_inventory(store)
    roots = list(all_roots(store))
    if _is_path(subject):
        facts = path_facts(os.path.abspath(os.path.expanduser(subject)), inventory, roots)
        return Explanation(entries=_kept(store, inventory, roots, facts.entries), path=facts)
    wanted = parse_requirement(subject)
    name = canonicalize_name(wanted.name)
    found = sorted(entry for entry in inventory.entries if is_release_of(wanted, *entry.split("/")[:2]))
    if not found:
        raise NotFoundError(
            f"No distribution in the store matches {subject}",
            hint=_near(name, {entry.partition("/")[0] for entry in inventory.entries}),
        )
    return Explanation(entries=_kept(store, inventory, roots, found))


def parse_requirement(text: str) -> Requirement:
    """Parse a requirement that a user wrote; raise UsageError if it is not valid."""
    try:
        return Requirement(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a requirement", hint="name a distribution, as in numpy or 'numpy<2'"
        ) from None


def is_release_of(wanted: Requirement, name: str, version: str) -> bool:
    """Return whether *wanted* includes the release, also a pre-release; its version must be valid."""
    if canonicalize_name(name) != canonicalize_name(wanted.name):
        return False
    try:
        return wanted.specifier.contains(Version(version), prereleases=True)
    except ValueError:
        return not wanted.specifier


def _is_path(subject: str) -> bool:
    return os.sep in subject or subject.startswith((".", "~")) or os.path.lexists(subject)


def _near(name: str, names: Iterable[str]) -> str:
    like = sorted(known for known in names if name in known or known in name)
    return f"it has {', '.join(like[:5])}" if like else "`pipm store ls` lists what it has"


def _kept(
    store: Store, inventory: StoreInventory, roots: list[Root], entries: Iterable[str]
) -> tuple[KeptEntry, ...]:
    chosen = sorted(entries)
    by_entry = [(entry, [root for root in roots if entry in root.entries]) for entry in chosen]
    unkept = any(not users for _, users in by_entry)
    condemned = set(preview_collection(store, Limits()).entries_removed) if unkept else set()
    return tuple(
        KeptEntry(
            name=entry.split("/")[0],
            version=entry.split("/")[1],
            tag=entry.split("/")[2],
            on_disk=inventory.bytes_of(inventory.with_bytecode(inventory.entries[entry])),
            users=tuple(_keeper(root) for root in users),
            condemned=entry in condemned,
        )
        for entry, users in by_entry
    )


def _keeper(root: Root) -> EntryUser:
    synced = root.state in (SYNCED, SYNCING)
    how = (root.lock or "synced") if synced else "adopted"
    return EntryUser(path=root.path, how=how, missing=not marker_of(root.path))
