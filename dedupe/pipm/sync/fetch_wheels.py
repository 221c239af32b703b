"""Fetching missing wheels with several processes of pip; each batch is stored as soon as it is complete."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from pipm.context.workers import WorkerPool, WorkQueue
from pipm.core.pins import is_editable
from pipm.errors import FetchError, InterruptedRunError, PipmError
from pipm.fs.beneath import open_directory_beneath
from pipm.fs.durability import Durability, sync_file_system
from pipm.fs.opened import opened
from pipm.fs.share_file import ensure_folder
from pipm.share.add_wheels import store_wheels
from pipm.store.entries import index_wheel
from pipm.wheel.pip_download import batches, locked_hashes, other_ways, run_batch
from pipm.wheel.refusals import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.pins import Pin
    from pipm.share.add_wheels import StoredWheel
    from pipm.sync.pin_resolver import PinResolver
    from pipm.wheel.pip_download import Batch
    from pipm.wheel.record_hashes import RecordMismatch
    from pipm.wheel.run_pip import PipCommand

_MOST_WORKERS = 6
"""Maximum processes of pip: half of their time they wait for the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchRun:
    """The values that all workers share; ``run`` is the run's folder in the store, at ``run_path``."""

    resolver: PinResolver
    pip: PipCommand
    run: int
    run_path: str
    shared_state: SharedState


class _Answer(NamedTuple):
    """The result of one batch: entries by name, or an error."""

    entries: dict[str, str]
    error: PipmError | None = None
    mismatches: tuple[RecordMismatch, ...] = ()


class Fetched(NamedTuple):
    """Entries by name, and rows of RECORDs that differ from their wheels."""

    entries: dict[str, str]
    mismatches: tuple[RecordMismatch, ...] = ()


def fetch(fetching: FetchRun, pins: Sequence[Pin], progress: Progress) -> Fetched:
    """Fetch or build *pins* with pip and add them to the store.

    Raises the first error after all batches ended, so that the other wheels are stored.
    """
    count = min(_MOST_WORKERS, max(2, 2 * len(os.sched_getaffinity(0))), len(pins))
    parts = batches(pins, count)
    queue = WorkQueue(len(parts))
    workers = [_Worker(fetching, parts, queue) for _ in range(min(count, len(parts)))]
    progress.phase("Fetching", len(pins))
    pool = WorkerPool(workers, fetching.shared_state, lambda: progress.advance(*fetching.shared_state.done()))
    try:
        answers: list[_Answer] = [answer for several in pool.run("fetch") for answer in several]
    finally:
        pool.close()
        queue.close()
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    return Fetched(
        {name: entry for answer in answers for name, entry in answer.entries.items()},
        tuple(sorted(mismatch for answer in answers for mismatch in answer.mismatches)),
    )


class _Worker:
    """Takes batches from a queue, fetches each with pip, and adds it to the store."""

    def __init__(self, fetching: FetchRun, parts: list[Batch], queue: WorkQueue) -> None:
        self._fetching = fetching
        self._parts = parts
        self._queue = queue

    def run(self, _stage: str) -> list[_Answer]:
        """Fetch batches until none is left."""
        return [self._fetch(number) for number in self._queue]

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _fetch(self, number: int) -> _Answer:
        batch = self._parts[number]
        try:
            return self._one_way_or_other(batch, number)
        except InterruptedRunError:
            raise
        except PipmError as error:
            return _Answer({}, error)

    def _one_way_or_other(self, batch: Batch, number: int) -> _Answer:
        """Fetch *batch*; if no server answers, try other places."""
        for way in other_ways(self._fetching.pip, batch.pins):
            try:
                return self._once(batch, f"batch-{number}-{batch.way.name}")
            except UnreachableError:
                batch = batch._replace(way=way)
        return self._once(batch, f"batch-{number}-{batch.way.name}")

    def _once(self, batch: Batch, name: str) -> _Answer:
        fetching = self._fetching
        ensure_folder(fetching.run, name, 0o700)
        with opened(open_directory_beneath(fetching.run, name)) as folder:
            path = f"{fetching.run_path}/{name}"
            wheels = run_batch(fetching.pip, batch, folder, path, lambda: fetching.shared_state.stopping)
            store = fetching.resolver.store
            kept = store_wheels(store, folder, [(path, "") for path in wheels], locked_hashes(batch.pins))
            entries = {}
            for pin in batch.pins:
                one = wheel_of(pin, kept)
                for key in fetching.resolver.keys(pin, one.archive):
                    index_wheel(store, key, one.entry, Durability.LATER)
                entries[pin.name] = one.entry
                fetching.shared_state.advance(0)
            sync_file_system(folder)
            fetching.shared_state.tell()
        return _Answer(entries, mismatches=tuple(mismatch for one in kept for mismatch in one.mismatches))


def wheel_of(pin: Pin, kept: list[StoredWheel]) -> StoredWheel:
    """Return the wheel of *kept* for *pin*; raise FetchError if it is not the locked one."""
    found = [one for one in kept if one.entry.partition("/")[0] == canonicalize_name(pin.name)]
    if len(found) != 1:
        raise FetchError(
            f"There is no wheel of {pin.name} ({pin.where or 'the lock'})",
            hint="check that this is the project's own name",
        )
    (one,) = found
    version = one.entry.split("/")[1]
    # Like pip, accept a local version (PEP 440) if the lock has the same public version. The version of an
    # editable project changes without its lock.
    if (
        pin.version is not None
        and not is_editable(pin)
        and pin.version not in (version, version.partition("+")[0])
    ):
        raise FetchError(
            f"{pin.name} has version {version}, but the lock says {pin.version} ({pin.where})",
            hint="lock again",
        )
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
