"""Fetching what the store lacks: several pips at once, each wheel kept as soon as its batch is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from pipm.context.workers import Crew, Tickets
from pipm.core.pins import Folder
from pipm.errors import FetchError, InterruptedRunError, PipmError
from pipm.fs.beneath import open_directory_beneath
from pipm.fs.durability import Durability, sync_file_system
from pipm.fs.share_file import ensure_folder
from pipm.share.add_wheels import keep_wheels
from pipm.store.entries import index_wheel
from pipm.wheel.pip_download import batches, other_ways, promised_hashes, run_batch
from pipm.wheel.refusals import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import Pulse
    from pipm.core.pins import Pin
    from pipm.share.add_wheels import Kept
    from pipm.sync.pin_resolver import Shelf
    from pipm.wheel.pip_download import Batch
    from pipm.wheel.record_hashes import Doubt
    from pipm.wheel.run_pip import Pip

_MOST_WORKERS = 6
"""pips at once: they wait for the network half of their time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetching:
    """What all workers know; ``run`` is this run's private folder in the store, at ``run_path``."""

    shelf: Shelf
    pip: Pip
    run: int
    run_path: str
    pulse: Pulse


class _Answer(NamedTuple):
    """What came of one batch: entries by name, or why not."""

    entries: dict[str, str]
    error: PipmError | None = None
    doubts: tuple[Doubt, ...] = ()


class Fetched(NamedTuple):
    """Entries by name, and where wheels' RECORD says something else than they hold."""

    entries: dict[str, str]
    doubts: tuple[Doubt, ...] = ()


def fetch(fetching: Fetching, pins: Sequence[Pin], progress: Progress) -> Fetched:
    """Let pip fetch or build *pins* into the store.

    Raises the first error after all batches ended: what the others brought is kept.
    """
    count = min(_MOST_WORKERS, max(2, 2 * len(os.sched_getaffinity(0))), len(pins))
    parts = batches(pins, count)
    tickets = Tickets(len(parts))
    workers = [_Worker(fetching, parts, tickets) for _ in range(min(count, len(parts)))]
    progress.phase("Fetching", len(pins))
    crew = Crew(workers, fetching.pulse, lambda: progress.advance(*fetching.pulse.done()))
    try:
        answers: list[_Answer] = [answer for several in crew.run("fetch") for answer in several]
    finally:
        crew.close()
        tickets.close()
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    return Fetched(
        {name: entry for answer in answers for name, entry in answer.entries.items()},
        tuple(sorted(doubt for answer in answers for doubt in answer.doubts)),
    )


class _Worker:
    """Draws batches; each goes through pip and into the store."""

    def __init__(self, fetching: Fetching, parts: list[Batch], tickets: Tickets) -> None:
        self._fetching = fetching
        self._parts = parts
        self._tickets = tickets

    def run(self, _stage: str) -> list[_Answer]:
        """Fetch until no batch is left."""
        return [self._fetch(number) for number in self._tickets]

    def close(self) -> None:
        """Nothing is held."""

    def _fetch(self, number: int) -> _Answer:
        batch = self._parts[number]
        try:
            return self._one_way_or_other(batch, number)
        except InterruptedRunError:
            raise
        except PipmError as error:
            return _Answer({}, error)

    def _one_way_or_other(self, batch: Batch, number: int) -> _Answer:
        """Fetch *batch*; where nobody answers, from where else it may come."""
        for way in other_ways(self._fetching.pip, batch.pins):
            try:
                return self._once(batch, f"batch-{number}-{batch.way.name}")
            except UnreachableError:
                batch = batch._replace(way=way)
        return self._once(batch, f"batch-{number}-{batch.way.name}")

    def _once(self, batch: Batch, name: str) -> _Answer:
        fetching = self._fetching
        ensure_folder(fetching.run, name, 0o700)
        folder = open_directory_beneath(fetching.run, name)
        try:
            path = f"{fetching.run_path}/{name}"
            wheels = run_batch(fetching.pip, batch, folder, path, lambda: fetching.pulse.stopping)
            store = fetching.shelf.store
            kept = keep_wheels(store, folder, [(path, "") for path in wheels], promised_hashes(batch.pins))
            entries = {}
            for pin in batch.pins:
                one = _wheel_of(pin, kept)
                for key in fetching.shelf.keys(pin, one.archive):
                    index_wheel(store, key, one.entry, Durability.LATER)
                entries[pin.name] = one.entry
                fetching.pulse.advance(0)
            sync_file_system(folder)
            fetching.pulse.tell()
        finally:
            os.close(folder)
        return _Answer(entries, doubts=tuple(doubt for one in kept for doubt in one.doubts))


def _wheel_of(pin: Pin, kept: list[Kept]) -> Kept:
    """The wheel that came for *pin*, which is what the lock says."""
    found = [one for one in kept if one.entry.partition("/")[0] == canonicalize_name(pin.name)]
    if len(found) != 1:
        raise FetchError(
            f"pip brought no wheel of {pin.name} ({pin.where or 'the lock'})",
            hint="is it the name that the project gives itself?",
        )
    (one,) = found
    version = one.entry.split("/")[1]
    # As for pip, a local version (PEP 440) serves where none is asked for.
    if pin.version is not None and pin.version not in (version, version.partition("+")[0]):
        raise FetchError(
            f"{pin.name} came as version {version}, the lock says {pin.version} ({pin.where})",
            hint="make the lock anew",
        )
    promises = _promises(pin)
    if promises and one.archive.hex() not in promises:
        raise FetchError(
            f"{pin.name} {pin.version} is not what the lock promises: its sha256 is {one.archive.hex()}",
            hint="make the lock anew if the project published other files, else do not trust this index",
        )
    return one


def _promises(pin: Pin) -> set[str]:
    """The sha256 that the fetched wheel must have one of; empty where the lock promises none for wheels."""
    if isinstance(pin.origin, Folder) or not pin.wheels:
        return set()
    return {value for name, value in pin.wheels[0].hashes if name == "sha256"}
