"""Fetching missing wheels. Several processes unpack what their threads download meanwhile.

What only pip can fetch is left to pip.
"""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.workers import WorkerPool
from pipm.errors import PipmError
from pipm.fetch.http_client import HttpClient
from pipm.fetch.network_settings import LeftToPipError, NetworkSettings
from pipm.fetch.sources import is_ours
from pipm.fetch.write_archive import ArchiveWriter
from pipm.fs.beneath import open_directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.opened import opened
from pipm.fs.os_errors import explain_os_error
from pipm.fs.share_file import ensure_folder, forget
from pipm.share.add_wheels import WheelBatch
from pipm.sync.fetched_wheels import Fetched, record_wheels
from pipm.wheel.pip_download import locked_hashes
from pipm.wheel.settings import environ_for_pip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from pipm.context.progress import Progress
    from pipm.core.pins import Pin
    from pipm.fetch.write_archive import NewArchive
    from pipm.sync.fetched_wheels import FetchRun

_MOST_WORKERS = 8
_CONNECTIONS = 8
"""Downloads of one process at a time."""
_AHEAD = 4
"""Downloaded archives that wait until they are unpacked; then no more are downloaded."""
_TICK = 0.1


def fetch(fetching: FetchRun, pins: Sequence[Pin], progress: Progress) -> Fetched:
    """Fetch or build *pins* and add them to the store.

    Raises the first error after all work ended, so that the other wheels are stored.
    """
    progress.phase("Fetching", len(pins))
    fetched = []
    left = list(pins)
    with contextlib.suppress(LeftToPipError):
        settings = NetworkSettings.of(environ_for_pip(fetching.python))
        ours = [pin for pin in pins if is_ours(pin, settings)]
        if ours:
            fetched.append(_fetch_ours(fetching, settings, ours, progress))
            left = [pin for pin in pins if pin.name not in fetched[0].entries]
    if left:
        from pipm.sync.fetch_with_pip import fetch_with_pip  # noqa: PLC0415 - seldom needed
        from pipm.wheel.run_pip import find_pip  # noqa: PLC0415 - likewise

        pip = find_pip(fetching.python, fetching.target)
        fetched.append(fetch_with_pip(fetching, pip, left, progress))
    return Fetched.joined(fetched)


def _fetch_ours(
    fetching: FetchRun, settings: NetworkSettings, pins: Sequence[Pin], progress: Progress
) -> Fetched:
    """Fetch *pins*, and leave out those that only pip can fetch."""
    # Always forked: then threads that wait for a server end with their process.
    count = max(2, min(len(os.sched_getaffinity(0)), _MOST_WORKERS))
    parts: list[list[Pin]] = [[] for _ in range(count)]
    sizes = [0] * count
    for pin in sorted(pins, key=lambda pin: -_size(pin)):
        least = min(range(count), key=lambda number: (sizes[number], len(parts[number])))
        parts[least].append(pin)
        sizes[least] += _size(pin)
    shared = fetching.shared_state
    workers = [_FetchWorker(fetching, settings, part, number) for number, part in enumerate(parts)]
    pool = WorkerPool(workers, shared, lambda: progress.advance(*shared.done()))
    try:
        answers: list[_FetchResult] = pool.run("fetch")
    finally:
        pool.close()
    for answer in answers:
        for error in answer.errors:
            raise error
    return Fetched.joined(answer.fetched for answer in answers)


class _FetchResult(NamedTuple):
    fetched: Fetched
    errors: list[PipmError]


class _FetchWorker:
    """Downloads the wheels of *pins* with several threads, and unpacks each that came."""

    def __init__(
        self, fetching: FetchRun, settings: NetworkSettings, pins: Sequence[Pin], number: int
    ) -> None:
        self._fetching, self._settings, self._pins = fetching, settings, pins
        self._name = f"fetch-{number}"

    def run(self, _stage: str) -> _FetchResult:
        """Fetch all, and store what came even if something is missing."""
        run, shared = self._fetching.run, self._fetching.shared_state
        ensure_folder(run, self._name, 0o700)
        with opened(open_directory_beneath(run, self._name)) as folder:
            batch = WheelBatch(self._fetching.resolver.store, folder)
            done: list[Pin] = []
            errors: list[PipmError] = []
            for pin, downloaded in self._downloads(folder):
                try:
                    self._unpack(batch, folder, pin, downloaded.result())
                    done.append(pin)
                except LeftToPipError:
                    continue
                except PipmError as error:
                    errors.append(error)
                except OSError as error:  # a full disk may have room for what is smaller
                    errors.append(explain_os_error(error, f"fetch {pin.name}"))
                shared.tell()
            fetched = record_wheels(self._fetching, done, batch.publish())
            if done:
                sync_file_system(folder)
            shared.check()
            return _FetchResult(fetched, errors)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _unpack(self, batch: WheelBatch, folder: int, pin: Pin, archive: NewArchive) -> None:
        path = f"{self._fetching.run_path}/{self._name}/{archive.name}"
        try:
            batch.unpack(path, archive.file_name, locked_hashes([pin]), digest=archive.digest)
        finally:
            forget(folder, archive.name)  # before it is written to the disk
        self._fetching.shared_state.advance(0)

    def _downloads(self, folder: int) -> Iterator[tuple[Pin, Future[NewArchive]]]:
        """Yield what the threads download; it ends early if the command is interrupted."""
        shared = self._fetching.shared_state
        client = HttpClient(self._settings, lambda: shared.stopping)
        writer = ArchiveWriter(client, folder, self._fetching.target.tags, shared.count)
        count = min(_CONNECTIONS, len(self._pins)) or 1
        room = threading.Semaphore(count + _AHEAD)

        def download(pin: Pin) -> NewArchive:
            room.acquire()
            return writer.write(pin)

        threads = ThreadPoolExecutor(count)
        waiting = {threads.submit(download, pin): pin for pin in self._pins}
        while waiting and not shared.stopping:
            for future in wait(waiting, _TICK, FIRST_COMPLETED).done:
                yield waiting.pop(future), future
                room.release()


def _size(pin: Pin) -> int:
    archive = pin.wheels[0] if pin.wheels else None
    return (archive.size or 0) if archive is not None else 0
