"""Fetching missing wheels. One process downloads with several threads; the others unpack what came.

What only pip can fetch is left to pip.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.workers import ItemPipe, WorkerPool
from pipm.errors import FetchError, PipmError
from pipm.fetch.http_client import HttpClient
from pipm.fetch.network_settings import LeftToPipError, NetworkSettings
from pipm.fetch.sources import is_ours
from pipm.fetch.write_archive import ArchiveWriter
from pipm.fs.background_sync import BackgroundSync
from pipm.fs.durability import sync_file_system
from pipm.fs.os_errors import explain_os_error
from pipm.fs.share_file import forget
from pipm.share.add_wheels import unpack_into_store
from pipm.store.entries import link_archives
from pipm.sync.fetched_wheels import Fetched, record_wheels
from pipm.wheel.pip_download import locked_hashes
from pipm.wheel.settings import environ_for_pip
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from pipm.context.progress import Progress
    from pipm.context.workers import Worker
    from pipm.core.pins import Pin
    from pipm.fetch.write_archive import NewArchive
    from pipm.share.add_wheels import IncomingWheel, StoredWheel
    from pipm.sync.compile_early import EarlyCompiler
    from pipm.sync.fetched_wheels import FetchRun

_MOST_WORKERS = 8
_CONNECTIONS = 16
"""Downloads at a time."""
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
    pins = _in_turns(pins)
    shared, run = fetching.shared_state, fetching.run
    count = min(len(os.sched_getaffinity(0)), _MOST_WORKERS, len(pins))
    arrived, syncs = ItemPipe(), BackgroundSync(run)
    compiler = _early_compiler(fetching, syncs, arrived)
    workers: list[Worker] = [_Downloader(fetching, settings, pins, arrived, compiler)]
    workers += [_Unpacker(fetching, pins, arrived, syncs, compiler) for _ in range(count)]
    # Always forked: then threads that wait for a server end with their process.
    more = [] if compiler is None else [compiler]
    pool = WorkerPool([*workers, *more], shared, lambda: progress.advance(*shared.done()))
    arrived.end()
    arrived.close()
    if compiler is not None:
        compiler.end()
    try:
        with syncs:
            answers: list[_Unpacked | BaseException] = pool.run_all(None)[: len(workers)]
    finally:
        pool.close()
    unpacked = [one for one in answers if isinstance(one, _Unpacked)]
    kept = [wheel for one in unpacked for wheel in one.kept]
    link_archives(fetching.resolver.store, [(one.entry, one.archive) for one in kept])
    fetched = record_wheels(fetching, [pins[number] for one in unpacked for number in one.done], kept)
    sync_file_system(run)
    shared.check()
    errors = [one for one in answers if isinstance(one, BaseException)]
    for error in [*errors, *(error for one in unpacked for error in one.errors)]:
        raise error
    return fetched


def _early_compiler(fetching: FetchRun, syncs: BackgroundSync, arrived: ItemPipe) -> EarlyCompiler | None:
    if fetching.interpreter is None:
        return None
    from pipm.sync.compile_early import EarlyCompiler  # noqa: PLC0415 - only `--compile` waits for bytecode

    place = (fetching.run, fetching.run_path)
    store, shared = fetching.resolver.store, fetching.shared_state
    return EarlyCompiler(store, place, fetching.interpreter, syncs, shared, arrived)


class _Unpacked(NamedTuple):
    """The numbers of the pins whose wheels a worker stored, these wheels, and what went wrong."""

    done: list[int]
    kept: list[StoredWheel]
    errors: list[PipmError]


class _Downloader:
    """Downloads the wheels of *pins* with several threads; the pipe *arrived* gives them to the unpackers."""

    def __init__(
        self,
        fetching: FetchRun,
        settings: NetworkSettings,
        pins: Sequence[Pin],
        arrived: ItemPipe,
        compiler: EarlyCompiler | None,
    ) -> None:
        self._fetching, self._settings, self._pins, self._arrived = fetching, settings, pins, arrived
        self._compiler = compiler

    def run(self, _stage: None) -> _Unpacked:
        """Download all. It ends early if the command is interrupted."""
        self._arrived.close()
        if self._compiler is not None:
            self._compiler.end()
        errors: list[PipmError] = []
        try:
            for number, future in self._downloads():
                errors += self._hand_over(number, future)
        finally:
            self._arrived.end()
        return _Unpacked([], [], errors)

    def _downloads(self) -> Iterator[tuple[int, Future[NewArchive]]]:
        """Yield the number of each pin and its ended download."""
        shared = self._fetching.shared_state
        client = HttpClient(self._settings, lambda: shared.stopping)
        writer = ArchiveWriter(client, self._fetching.run, self._fetching.target.tags, shared.count)
        threads = ThreadPoolExecutor(_CONNECTIONS)
        numbers = iter(range(len(self._pins)))
        waiting: dict[Future[NewArchive], int] = {}
        while not shared.stopping:
            for number in islice(numbers, _CONNECTIONS - len(waiting)):
                waiting[threads.submit(writer.write, self._pins[number])] = number
            if not waiting:
                break
            for future in wait(waiting, _TICK, FIRST_COMPLETED).done:
                yield waiting.pop(future), future

    def close(self) -> None:
        """Do nothing: the process ends."""

    def _hand_over(self, number: int, downloaded: Future[NewArchive]) -> Iterator[PipmError]:
        """Give an archive to an unpacker; yield what went wrong."""
        shared, pin = self._fetching.shared_state, self._pins[number]
        try:
            archive = downloaded.result()
        except LeftToPipError:
            return
        except PipmError as error:
            yield error
            return
        except OSError as error:  # a full disk may have room for what is smaller
            yield explain_os_error(error, f"fetch {pin.name} into {self._fetching.resolver.store.path}")
            return
        if not self._arrived.put((number, archive), lambda: shared.stopping):
            yield FetchError(f"The file name of the wheel of {pin.name} is too long", hint="lock again")


class _Unpacker:
    """Unpacks wheels that *arrived*, and gives each its names in the store.

    A wheel's objects get their names after a sync that began when it was unpacked; its entry gets its name
    after one that began then. Meanwhile others are unpacked.
    """

    def __init__(
        self,
        fetching: FetchRun,
        pins: Sequence[Pin],
        arrived: ItemPipe,
        syncs: BackgroundSync,
        compiler: EarlyCompiler | None,
    ) -> None:
        self._fetching, self._pins, self._arrived, self._syncs = fetching, pins, arrived, syncs
        self._compiler = compiler
        self._unsynced: deque[_Unsynced] = deque()
        self._unpacked = _Unpacked([], [], [])

    def run(self, _stage: None) -> _Unpacked:
        """Unpack what comes until nothing comes any more; an error does not stop the others."""
        self._arrived.end()
        try:
            for number, archive in self._arrived.items(self._stopping):
                with self._noting(number):
                    self._unpack(number, archive)
                self._fetching.shared_state.tell()
                if self._stopping():
                    break
            while self._unsynced:
                self._syncs.wait(self._unsynced[0].sync)
                self._go_on()
        finally:
            if self._compiler is not None:
                self._compiler.end()
        return self._unpacked

    def close(self) -> None:
        """Do nothing: the process ends."""

    def _stopping(self) -> bool:
        """Return whether the command was interrupted, after going on with what was synced meanwhile."""
        while self._unsynced and self._syncs.is_done(self._unsynced[0].sync):
            self._go_on()
        return self._fetching.shared_state.stopping

    @contextlib.contextmanager
    def _noting(self, number: int) -> Iterator[None]:
        """Note an error with the wheel of a pin."""
        try:
            yield
        except PipmError as error:
            self._unpacked.errors.append(error)
        except OSError as error:  # a full disk may have room for what is smaller
            doing = f"fetch {self._pins[number].name} into {self._fetching.resolver.store.path}"
            self._unpacked.errors.append(explain_os_error(error, doing))

    def _unpack(self, number: int, archive: NewArchive) -> None:
        fetching, hashes = self._fetching, locked_hashes([self._pins[number]])
        store, run, name = fetching.resolver.store, fetching.run, f"tree-{archive.name}"
        path = f"{fetching.run_path}/{archive.name}"
        try:
            wheel = unpack_into_store(
                store, run, name, (path, archive.file_name), hashes, digest=archive.digest
            )
        finally:
            forget(run, archive.name)  # before it is written to the disk
        fetching.shared_state.advance(0)
        self._unsynced.append(_Unsynced(self._syncs.next(), number, wheel, is_built=False))

    def _go_on(self) -> None:
        """Build or publish the first wheel, which a sync has written to the disk."""
        _, number, wheel, is_built = self._unsynced.popleft()
        with self._noting(number):
            if not is_built:
                wheel.build()
                self._unsynced.append(_Unsynced(self._syncs.next(), number, wheel, is_built=True))
                return
            kept = wheel.publish()
            self._unpacked.kept.append(kept)
            self._unpacked.done.append(number)
            with contextlib.suppress(OSError, PipmError):  # the sync itself reports it
                load_install_plan(self._fetching.resolver.store, kept.entry)
                if self._compiler is not None:
                    self._compiler.tell(kept.entry)


class _Unsynced(NamedTuple):
    """The wheel of a pin that waits for the sync with that number, unpacked or built."""

    sync: int
    number: int
    wheel: IncomingWheel
    is_built: bool


def _in_turns(pins: Sequence[Pin]) -> list[Pin]:
    """Return the largest of *pins*, the smallest, the next largest, and so on.

    Small wheels need as many round trips as large ones: beside large ones the line is never idle for them.
    """
    by_size = sorted(pins, key=lambda pin: -_size(pin))
    half = -(-len(by_size) // 2)
    pairs = zip_longest(by_size[:half], reversed(by_size[half:]))
    return [pin for pair in pairs for pin in pair if pin is not None]


def _size(pin: Pin) -> int:
    archive = pin.wheels[0] if pin.wheels else None
    return (archive.size or 0) if archive is not None else 0
