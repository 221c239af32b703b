"""Fetching missing wheels. One process downloads with several threads; the others unpack what came.

What only pip can fetch is left to pip.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.workers import ItemPipe, WorkerPool
from pipm.errors import FetchError, PipmError
from pipm.fetch.http_client import HttpClient
from pipm.fetch.network_settings import LeftToPipError, NetworkSettings
from pipm.fetch.sources import is_ours
from pipm.fetch.write_archive import ArchiveWriter
from pipm.fs.durability import sync_file_system, syncing
from pipm.fs.os_errors import explain_os_error
from pipm.fs.share_file import forget
from pipm.share.add_wheels import WheelBatch
from pipm.store.entries import link_archives
from pipm.sync.fetched_wheels import Fetched, record_wheels
from pipm.wheel.pip_download import locked_hashes
from pipm.wheel.settings import environ_for_pip
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from pipm.context.progress import Progress
    from pipm.core.pins import Pin
    from pipm.fetch.write_archive import NewArchive
    from pipm.share.add_wheels import StoredWheel
    from pipm.sync.fetched_wheels import FetchRun

_MOST_WORKERS = 8
_CONNECTIONS = 16
"""Downloads at a time."""
_TICK = 0.1
_FIRST_PART = 4
"""The part of the pins, the largest ones, whose files the disk writes while the others are unpacked."""
_UNPACK, _BUILD, _PUBLISH = "unpack", "build", "publish"
"""The stages."""


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
    pins = sorted(pins, key=lambda pin: -_size(pin))
    shared, run = fetching.shared_state, fetching.run
    count = min(len(os.sched_getaffinity(0)), _MOST_WORKERS, len(pins))
    arrived = ItemPipe()
    downloader = _Downloader(fetching, settings, pins, arrived)
    unpackers = [_Unpacker(fetching, pins, number, arrived) for number in range(count)]
    # Always forked: then threads that wait for a server end with their process.
    pool = WorkerPool([downloader, *unpackers], shared, lambda: progress.advance(*shared.done()))
    arrived.end()
    try:
        # The disk writes one part while the processors work on another. The store must get only objects whose
        # bytes are on disk.
        unpacked: list[_Unpacked] = pool.run((_UNPACK, len(pins) // _FIRST_PART))
        with syncing([run]):
            unpacked += pool.run((_UNPACK, len(pins)))
        with syncing([run]):
            pool.run((_BUILD, 0))
        pool.run((_BUILD, 1))
        sync_file_system(run)
        kept: list[StoredWheel] = [one for part in pool.run((_PUBLISH, 0)) for one in part]
    finally:
        pool.close()
        arrived.close()
    link_archives(fetching.resolver.store, [(one.entry, one.archive) for one in kept])
    fetched = record_wheels(fetching, [pins[number] for part in unpacked for number in part.done], kept)
    sync_file_system(run)
    shared.check()
    for part in unpacked:
        for error in part.errors:
            raise error
    return fetched


class _Unpacked(NamedTuple):
    """The numbers of the pins that a worker unpacked, and what went wrong."""

    done: list[int]
    errors: list[PipmError]


class _Downloader:
    """Downloads the wheels of *pins* with several threads; the pipe *arrived* gives them to the unpackers."""

    def __init__(
        self, fetching: FetchRun, settings: NetworkSettings, pins: Sequence[Pin], arrived: ItemPipe
    ) -> None:
        self._fetching, self._settings, self._pins, self._arrived = fetching, settings, pins, arrived
        self._downloading: Future[list[PipmError]] | None = None

    def run(self, stage: tuple[str, int]) -> _Unpacked | tuple[()]:
        """Begin to download in the first stage `_UNPACK`, and end in the second."""
        if stage[0] != _UNPACK:
            return ()
        if self._downloading is None:
            self._downloading = ThreadPoolExecutor(1).submit(self._download)
            return _Unpacked([], [])
        return _Unpacked([], self._downloading.result())

    def close(self) -> None:
        """Do nothing: the process ends."""

    def _download(self) -> list[PipmError]:
        """Download all; return what went wrong. It ends early if the command is interrupted."""
        shared = self._fetching.shared_state
        client = HttpClient(self._settings, lambda: shared.stopping)
        writer = ArchiveWriter(client, self._fetching.run, self._fetching.target.tags, shared.count)
        threads = ThreadPoolExecutor(_CONNECTIONS)
        numbers = iter(range(len(self._pins)))
        waiting: dict[Future[NewArchive], int] = {}
        errors: list[PipmError] = []
        try:
            while not shared.stopping:
                for number in islice(numbers, _CONNECTIONS - len(waiting)):
                    waiting[threads.submit(writer.write, self._pins[number])] = number
                if not waiting:
                    break
                for future in wait(waiting, _TICK, FIRST_COMPLETED).done:
                    errors += self._hand_over(waiting.pop(future), future)
        finally:
            self._arrived.end()
        return errors

    def _hand_over(self, number: int, downloaded: Future[NewArchive]) -> Iterator[PipmError]:
        """Give an archive to an unpacker; yield what went wrong."""
        shared, pin = self._fetching.shared_state, self._pins[number]
        try:
            archive = downloaded.result()
            if not self._arrived.put((number, archive), lambda: shared.stopping):
                raise FetchError(f"The file name of the wheel of {pin.name} is too long", hint="lock again")
        except LeftToPipError:
            return
        except PipmError as error:
            yield error
        except OSError as error:  # a full disk may have room for what is smaller
            yield explain_os_error(error, f"fetch {pin.name} into {self._fetching.resolver.store.path}")


class _Unpacker:
    """Unpacks wheels that *arrived*.

    The stage `_UNPACK` makes a batch, and ends when all workers have unpacked so many pins; `_BUILD` builds
    the batch with that number. The caller syncs the file system before and after it.
    """

    def __init__(self, fetching: FetchRun, pins: Sequence[Pin], number: int, arrived: ItemPipe) -> None:
        self._fetching, self._pins, self._number, self._arrived = fetching, pins, number, arrived
        self._items: Iterator[tuple[int, NewArchive]] | None = None
        self._batches: list[WheelBatch] = []

    def run(self, stage: tuple[str, int]) -> _Unpacked | list[StoredWheel] | None:
        """Run one of the stages."""
        name, number = stage
        if name == _UNPACK:
            return self._unpack_until(number)
        if name == _BUILD:
            self._batches[number].build()
            return None
        kept = [wheel for batch in self._batches for wheel in batch.rename()]
        for wheel in kept:
            with contextlib.suppress(OSError, PipmError):  # the sync itself reports it
                load_install_plan(self._fetching.resolver.store, wheel.entry)
        return kept

    def close(self) -> None:
        """Do nothing: the process ends."""

    def _unpack_until(self, count: int) -> _Unpacked:
        """Unpack what comes until all workers have unpacked *count*; an error does not stop the others."""
        shared, run = self._fetching.shared_state, self._fetching.run
        if self._items is None:
            self._arrived.end()
            self._items = self._arrived.items(lambda: shared.stopping)
        batch = WheelBatch(self._fetching.resolver.store, run, f"tree-{self._number}-{len(self._batches)}")
        self._batches.append(batch)
        unpacked = _Unpacked([], [])
        while not shared.stopping and shared.done()[0] < count:
            item = next(self._items, None)
            if item is None:
                break
            number, archive = item
            pin = self._pins[number]
            try:
                self._unpack(batch, pin, archive)
                unpacked.done.append(number)
            except PipmError as error:
                unpacked.errors.append(error)
            except OSError as error:  # a full disk may have room for what is smaller
                unpacked.errors.append(
                    explain_os_error(error, f"fetch {pin.name} into {self._fetching.resolver.store.path}")
                )
            shared.tell()
        return unpacked

    def _unpack(self, batch: WheelBatch, pin: Pin, archive: NewArchive) -> None:
        path = f"{self._fetching.run_path}/{archive.name}"
        try:
            batch.unpack(path, archive.file_name, locked_hashes([pin]), digest=archive.digest)
        finally:
            forget(self._fetching.run, archive.name)  # before it is written to the disk
        self._fetching.shared_state.advance(0)


def _size(pin: Pin) -> int:
    archive = pin.wheels[0] if pin.wheels else None
    return (archive.size or 0) if archive is not None else 0
