"""The work and the output of `pipm push` and `pipm pull`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from pipm.cli.exit_codes import DONE, PARTLY
from pipm.cli.format_text import counted, path_text, seconds_text
from pipm.cli.named_environments import existing_environment
from pipm.cli.terminal_progress import progress_for
from pipm.core.selection import Selection
from pipm.core.size_text import size_text
from pipm.env.environment import load_environment
from pipm.env.interpreter import ask_interpreter
from pipm.errors import NotFoundError, UsageError, redacted
from pipm.remote.keys import signing_key
from pipm.remote.open_remote import open_remote, open_transport
from pipm.remote.pull import pull_entries
from pipm.remote.push import push_entries
from pipm.store.entries import all_entries, is_editable_entry
from pipm.store.layout import open_store
from pipm.store.paths import environment_path
from pipm.store.roots import find_root
from pipm.sync.open_lock import open_lock
from pipm.sync.pin_resolver import Trust
from pipm.sync.remote_entries import locked_pins, rows_for, stored_entries
from pipm.sync.target_environment import find_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.core.digest import Digest
    from pipm.remote.open_remote import Remote
    from pipm.remote.remote_values import IndexEntry
    from pipm.store.layout import Store

_Left = tuple[str, str]
"""A distribution that was not moved, and why."""


class RemoteArguments(NamedTuple):
    """The command line of `pipm push` and `pipm pull`; no ``sources`` means the nearest lock."""

    destination: str
    sources: tuple[str, ...]
    environment: str = ".venv"
    python: str | None = None
    everything: bool = False
    trust_adopted: bool = False
    prune_days: int | None = None

    @property
    def trust(self) -> Trust:
        """Which entries may replace an archive of a lock."""
        return Trust(adopted=self.trust_adopted)

    @property
    def locks(self) -> tuple[str | None, ...]:
        """The locks; None is the nearest one."""
        return self.sources or (None,)

    def interpreter(self, store_path: str) -> str:
        """The interpreter for which locks are read."""
        return find_target(store_path, environment_path(self.environment), self.python).python


def push(output: Output, store_path: str, arguments: RemoteArguments) -> int:
    """Push and print the result."""
    started = time.monotonic()
    destination = arguments.destination
    key, transport = signing_key(), open_transport(destination)
    store = opened_store(store_path)
    progress = progress_for(output)
    with store.writing():
        entries, left = chosen_entries(store, arguments)
        try:
            done = push_entries(store, transport, destination, key, entries, progress, arguments.prune_days)
        finally:
            progress.done()
    left += done.left
    if output.json:
        document: dict[str, object] = {
            "remote": redacted(destination),
            "key": key.public.text,
            "serial": done.serial,
            "entries": done.entries,
            "new": list(done.new),
            "uploaded": done.uploaded,
            "pruned": done.pruned._asdict(),
            "left": [{"name": name, "reason": reason} for name, reason in left],
            "seconds": round(time.monotonic() - started, 3),
        }
        output.document("push", document)
    what = f"{counted(len(done.new), 'distribution')} of {done.entries}"
    took = seconds_text(time.monotonic() - started)
    output.result(f"Pushed {what} to {redacted(destination)}: {size_text(done.uploaded)} {took}")
    if done.pruned.packs:
        output.result(f"Removed {counted(done.pruned.packs, 'pack')}: {size_text(done.pruned.size)}")
    return _tell_left(output, left, "pushed")


def pull(output: Output, store_path: str, arguments: RemoteArguments) -> int:
    """Pull and print the result."""
    started = time.monotonic()
    destination = arguments.destination
    store = open_store(store_path)
    assert store is not None
    progress = progress_for(output)
    with store.writing():
        remote = open_remote(store, destination)
        rows, interpreters, left = _entries_to_pull(store, remote, arguments)
        try:
            done = pull_entries(store, remote.transport, rows, interpreters, progress)
        finally:
            progress.done()
    if output.json:
        document: dict[str, object] = {
            "remote": redacted(destination),
            "entries": len(done.entries),
            "new": list(done.new),
            "files": done.files,
            "downloaded": done.downloaded,
            "left": [{"name": name, "reason": reason} for name, reason in left],
            "seconds": round(time.monotonic() - started, 3),
        }
        output.document("pull", document)
    what = f"{counted(len(done.new), 'distribution')} of {len(done.entries)}"
    took = seconds_text(time.monotonic() - started)
    output.result(f"Pulled {what} from {redacted(destination)}: {size_text(done.downloaded)} {took}")
    return _tell_left(output, left, "pulled")


def chosen_entries(store: Store, arguments: RemoteArguments) -> tuple[list[str], list[_Left]]:
    """Return the store's entries that *arguments* name, and the distributions that it lacks."""
    if arguments.everything:
        return [entry for entry in all_entries(store) if not is_editable_entry(entry)], []
    entries: list[str] = []
    left: list[_Left] = []
    for source in arguments.locks:
        if source and os.path.isdir(environment_path(source)):
            entries += _entries_of_environment(store, existing_environment(source))
            continue
        pins, target = locked_pins(open_lock(source, Selection()), arguments.interpreter(store.path))
        found, missing = stored_entries(store, pins, target, arguments.trust)
        entries += found
        left += [(name, "is not in the store") for name in missing]
    return [entry for entry in dict.fromkeys(entries) if not is_editable_entry(entry)], left


def _entries_to_pull(
    store: Store, remote: Remote, arguments: RemoteArguments
) -> tuple[list[IndexEntry], list[str], list[_Left]]:
    """Return the requested entries of the remote, their interpreters, and the names that it lacks."""
    if arguments.everything:
        return list(remote.entries), sorted({name for row in remote.entries for name in row.bytecode}), []
    python = arguments.interpreter(store.path)
    interpreter = ask_interpreter(python)
    rows: dict[tuple[str, str, Digest], IndexEntry] = {}
    left: list[_Left] = []
    for lock in arguments.locks:
        pins, target = locked_pins(open_lock(lock, Selection()), python)
        found = rows_for(store, remote.entries, pins, target, arguments.trust)
        rows |= {row.key: row for row in found.values()}
        left += [(pin.name, "is not in the remote") for pin in pins if pin.name not in found]
    return list(rows.values()), [] if interpreter is None else [interpreter.pool("")], left


def opened_store(store_path: str) -> Store:
    """Return the store at *store_path*; raise NotFoundError if there is none."""
    store = open_store(store_path, create=False)
    if store is None:
        raise NotFoundError(
            f"There is no store at {path_text(store_path)}", hint="pipm adopt or pipm sync first"
        )
    return store


def _entries_of_environment(store: Store, path: str) -> Sequence[str]:
    root = find_root(store, load_environment(os.path.realpath(path)).path)
    if root is None:
        raise UsageError(f"The store does not know {path_text(path)}", hint=f"pipm adopt {path_text(path)}")
    return root.entries


def _tell_left(output: Output, left: Sequence[_Left], what: str) -> int:
    if left:
        output.note("warning", f"{counted(len(left), 'distribution')} not {what}")
        output.named(f"{name}: {reason}" for name, reason in left)
    return PARTLY if left else DONE
