"""Checking fetched wheels against a lock, and recording what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import FetchError
from pipm.fs.durability import Durability
from pipm.store.entries import index_wheel
from pipm.sync.pin_resolver import check_release
from pipm.wheel.pip_download import locked_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.context.workers import SharedState
    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.env.interpreter import Interpreter
    from pipm.share.add_wheels import StoredWheel
    from pipm.sync.pin_resolver import PinResolver
    from pipm.wheel.record_hashes import RecordMismatch


class FetchRun(NamedTuple):
    """The values that all workers share.

    The wheels are for the interpreter ``python``; ``run`` is the run's folder in the store, at ``run_path``.
    ``interpreter`` is None unless the sync waits for the bytecode of that interpreter.
    """

    resolver: PinResolver
    python: str
    target: Target
    run: int
    run_path: str
    shared_state: SharedState
    interpreter: Interpreter | None = None


class Fetched(NamedTuple):
    """Entries by name, and rows of RECORDs that differ from their wheels."""

    entries: dict[str, str]
    mismatches: tuple[RecordMismatch, ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Fetched]) -> Fetched:
        """Return all *parts* as one."""
        parts = list(parts)
        return cls(
            {name: entry for part in parts for name, entry in part.entries.items()},
            tuple(sorted(mismatch for part in parts for mismatch in part.mismatches)),
        )


def record_wheels(fetching: FetchRun, pins: Iterable[Pin], kept: list[StoredWheel]) -> Fetched:
    """Record which of the stored wheels *kept* serve *pins*; raise FetchError if one is not the locked one.

    The caller syncs the file system.
    """
    resolver = fetching.resolver
    entries = {}
    for pin in pins:
        one = wheel_of(pin, kept)
        for key in resolver.keys(pin, one.archive):
            if key != one.archive:  # which has its record
                index_wheel(resolver.store, key, one.entry, Durability.LATER)
        entries[pin.name] = one.entry
    return Fetched(entries, tuple(mismatch for one in kept for mismatch in one.mismatches))


def wheel_of(pin: Pin, kept: list[StoredWheel]) -> StoredWheel:
    """Return the wheel of *kept* for *pin*; raise FetchError if it is not the locked one."""
    digests = {value for name, value in locked_hashes([pin]) if name == "sha256"}
    found = {one.archive: one for one in kept if one.archive.hex() in digests}
    found = found or {one.archive: one for one in kept if one.entry.partition("/")[0] == pin.name}
    if len(found) != 1:
        raise FetchError(
            f"There is no wheel of {pin.name} ({pin.where or 'the lock'})",
            hint="check that this is the project's own name",
        )
    (one,) = found.values()
    check_release(pin, one.entry)
    hashes = _locked_hashes(pin)
    if hashes and one.archive.hex() not in hashes:
        raise FetchError(
            f"{pin.name} {pin.version} is not what the lock says: its sha256 is {one.archive.hex()}",
            hint="lock again if the project published other files; otherwise do not trust this index",
        )
    return one


def _locked_hashes(pin: Pin) -> set[str]:
    """Return the sha256 digests that the lock allows for the wheel; empty if it has none for wheels."""
    if not pin.wheels:
        return set()
    return {value for name, value in pin.wheels[0].hashes if name == "sha256"}
