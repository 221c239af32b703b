"""Finding the entries for a lock in a store or a remote, and pulling missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.context.progress import Progress
from pipm.core.manifest import Label
from pipm.core.pins import is_editable
from pipm.env.ask_target import ask_target
from pipm.errors import RemoteError
from pipm.remote.open_remote import open_remote
from pipm.remote.pull import pull_entries
from pipm.store.configuration import setting
from pipm.sync.pin_resolver import PinResolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipm.context.workers import SharedState
    from pipm.core.digest import Digest
    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.env.interpreter import Interpreter
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
    """Return the rows of a remote's *entries* for *pins*, by the pin's name, without missing ones."""
    rows = {Label(row.name, row.version, row.tag, row.identity).directory: row for row in entries}
    resolver = _RemoteResolver(store, rows, target, trust)
    found = {pin.name: resolver.find(pin) for pin in pins}
    return {name: rows[entry] for name, entry in found.items() if entry is not None}


def locked_pins(lock: Lock, python: str) -> tuple[list[Pin], Target]:
    """Return the pins of *lock* for the interpreter *python*, without editable projects, and the target."""
    target = ask_target(python)
    return [pin for pin in lock.pins(target) if not is_editable(pin)], target


def stored_entries(
    store: Store, pins: Iterable[Pin], target: Target, trust: Trust
) -> tuple[list[str], list[str]]:
    """Return the store's entries for *pins*, and the names of pins without one."""
    resolver = PinResolver(store, target, trust)
    found = {pin.name: resolver.find(pin) for pin in pins}
    return [entry for entry in found.values() if entry], [name for name, entry in found.items() if not entry]


class _Interruptible(Progress):
    """The progress of a pull that Ctrl-C interrupts; the pull is not a phase of its own."""

    def __init__(self, progress: Progress, shared_state: SharedState) -> None:
        self._progress, self._shared_state = progress, shared_state

    def phase(self, label: str, total: int) -> None:
        self._progress.phase(label, total)

    def advance(self, files: int, size: int) -> None:
        self._shared_state.check()
        self._progress.advance(files, size)


def pull_missing(
    store: Store,
    pins: Sequence[Pin],
    target: Target,
    trust: Trust,
    interpreter: Interpreter | None,
    progress: Progress,
    shared_state: SharedState,
) -> dict[str, str]:
    """Pull the entries for *pins* from the remote in ``PIPM_REMOTE``, with *interpreter*'s bytecode.

    Returns entries by the pin's name. After an error of the remote, prints a note: the index has the same.
    """
    destination = setting("remote")
    if not destination or not pins:
        return {}
    pools = [] if interpreter is None else [interpreter.pool("")]
    try:
        remote = open_remote(store, destination)
        rows = rows_for(store, remote.entries, pins, target, trust)
        every = list({row.key: row for row in rows.values()}.values())
        done = pull_entries(store, remote.transport, every, pools, _Interruptible(progress, shared_state))
    except RemoteError as error:
        progress.note(f"nothing was pulled from PIPM_REMOTE: {error.message}")
        return {}
    entries = dict(zip((row.key for row in every), done.entries, strict=True))
    return {name: entries[row.key] for name, row in rows.items()}
