"""Which entries of a store or of a remote a lock asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.manifest import Label
from pipm.env.ask_target import ask_target
from pipm.sync.editable import is_editable
from pipm.sync.pin_resolver import PinResolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipm.core.digest import Digest
    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.remote.remote_values import IndexEntry
    from pipm.store.layout import Store
    from pipm.sync.pin_resolver import Trust
    from pipm.sync.sync_values import Lock


class _RemoteResolver(PinResolver):
    """Finds entries in a remote's index instead of the store."""

    def __init__(self, store: Store, rows: Mapping[str, IndexEntry], target: Target, trust: Trust) -> None:
        super().__init__(store, target, trust)
        self._archives = {archive: entry for entry, row in rows.items() for archive in row.archives}
        self._releases: dict[tuple[str, str], list[str]] = {}
        for entry, row in sorted(rows.items(), key=lambda item: (not item[1].archives, item[0])):
            self._releases.setdefault((row.name, row.version), []).append(entry)

    def of_key(self, key: Digest | None) -> str | None:
        return None if key is None else self._archives.get(key)

    def of_release(self, pin: Pin) -> list[str]:
        return self._releases.get((pin.name, pin.version or ""), [])


def rows_for(
    store: Store, entries: Iterable[IndexEntry], pins: Iterable[Pin], target: Target, trust: Trust
) -> dict[str, IndexEntry]:
    """Return what a remote's *entries* have for *pins*, by the pin's name; what it lacks is left out."""
    rows = {Label(row.name, row.version, row.tag, row.identity).directory: row for row in entries}
    resolver = _RemoteResolver(store, rows, target, trust)
    found = {pin.name: resolver.find(pin) for pin in pins}
    return {name: rows[entry] for name, entry in found.items() if entry is not None}


def locked_pins(lock: Lock, python: str) -> tuple[list[Pin], Target]:
    """Return what *lock* pins for the interpreter *python*, but for editable projects."""
    target = ask_target(python)
    return [pin for pin in lock.pins(target) if not is_editable(pin)], target


def stored_entries(
    store: Store, pins: Iterable[Pin], target: Target, trust: Trust
) -> tuple[list[str], list[str]]:
    """Return the store's entries for *pins*, and the names of pins that it has none for."""
    resolver = PinResolver(store, target, trust)
    found = {pin.name: resolver.find(pin) for pin in pins}
    return [entry for entry in found.values() if entry], [name for name, entry in found.items() if not entry]
