"""Fetching and building wheels with processes of pip; each batch is stored as soon as it is complete."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.context.workers import WorkerPool, WorkQueue
from pipm.errors import InterruptedRunError, PipmError
from pipm.fs.beneath import open_directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.opened import opened
from pipm.fs.share_file import ensure_folder
from pipm.share.add_wheels import store_wheels
from pipm.sync.fetched_wheels import Fetched, record_wheels
from pipm.wheel.pip_download import batches, locked_hashes, other_ways, run_batch
from pipm.wheel.refusals import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.core.pins import Pin
    from pipm.sync.fetched_wheels import FetchRun
    from pipm.wheel.pip_download import Batch
    from pipm.wheel.run_pip import PipCommand

_MOST_WORKERS = 6
"""Maximum processes of pip: half of their time they wait for the network."""


def fetch_with_pip(fetching: FetchRun, pip: PipCommand, pins: Sequence[Pin], progress: Progress) -> Fetched:
    """Fetch or build *pins* with pip and add them to the store.

    Raises the first error after all batches ended, so that the other wheels are stored.
    """
    count = min(_MOST_WORKERS, max(2, 2 * len(os.sched_getaffinity(0))), len(pins))
    parts = batches(pins, count)
    queue = WorkQueue(len(parts))
    workers = [_PipWorker(fetching, pip, parts, queue) for _ in range(min(count, len(parts)))]
    pool = WorkerPool(workers, fetching.shared_state, lambda: progress.advance(*fetching.shared_state.done()))
    try:
        answers: list[Fetched | PipmError] = [answer for several in pool.run("fetch") for answer in several]
    finally:
        pool.close()
        queue.close()
    for answer in answers:
        if isinstance(answer, PipmError):
            raise answer
    return Fetched.joined(answer for answer in answers if isinstance(answer, Fetched))


class _PipWorker:
    """Takes batches from a queue, fetches each with pip, and adds it to the store."""

    def __init__(self, fetching: FetchRun, pip: PipCommand, parts: list[Batch], queue: WorkQueue) -> None:
        self._fetching, self._pip = fetching, pip
        self._parts = parts
        self._queue = queue

    def run(self, _stage: str) -> list[Fetched | PipmError]:
        """Fetch batches until none is left."""
        return [self._fetch(number) for number in self._queue]

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _fetch(self, number: int) -> Fetched | PipmError:
        batch = self._parts[number]
        try:
            return self._one_way_or_other(batch, number)
        except InterruptedRunError:
            raise
        except PipmError as error:
            return error

    def _one_way_or_other(self, batch: Batch, number: int) -> Fetched:
        """Fetch *batch*; if no server answers, try other places."""
        for way in other_ways(self._pip.environ, batch.pins):
            try:
                return self._once(batch, f"batch-{number}-{batch.way.name}")
            except UnreachableError:
                batch = batch._replace(way=way)
        return self._once(batch, f"batch-{number}-{batch.way.name}")

    def _once(self, batch: Batch, name: str) -> Fetched:
        fetching = self._fetching
        ensure_folder(fetching.run, name, 0o700)
        with opened(open_directory_beneath(fetching.run, name)) as folder:
            path = f"{fetching.run_path}/{name}"
            wheels = run_batch(self._pip, batch, folder, path, lambda: fetching.shared_state.stopping)
            store = fetching.resolver.store
            kept = store_wheels(store, folder, [(path, "") for path in wheels], locked_hashes(batch.pins))
            fetched = record_wheels(fetching, batch.pins, kept)
            fetching.shared_state.advance(0, len(batch.pins))
            sync_file_system(folder)
            fetching.shared_state.tell()
        return fetched
