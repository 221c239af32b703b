"""Reading files from packs by few large requests, several at once, and hashing each file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from threading import Semaphore
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from pipm.core.digest import Digest
from pipm.errors import RemoteError
from pipm.fs.share_file import NewFile, write_new_file
from pipm.remote.extra_libraries import decompress
from pipm.remote.pack_writer import frames_of, pack_name
from pipm.remote.remote_values import RemoteManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from pipm.remote.remote_values import Blob, Frame, RemoteFile
    from pipm.remote.transport import Transport

_T = TypeVar("_T")
_Group = list[tuple[tuple["Frame", ...], _T]]
"""Rows that one request brings, with the frames of each."""
_REQUEST = 4 << 20
"""Maximum bytes of one request: at 100 Mbit/s and 20 ms a few requests use the full bandwidth."""
_GAP = 32 << 10
"""Maximum unneeded bytes that are read in a request instead of making another request."""
_AT_ONCE = 12


class WantedFile(NamedTuple):
    """A file to fetch: its frames, its start in the first frame, and its target.

    It is written as ``new`` and then renamed to ``path`` in the same directory. ``header`` replaces its first
    bytes: those of bytecode depend on the store.
    """

    file: RemoteFile
    frames: tuple[Frame, ...]
    skip: int
    new: NewFile
    path: str
    mode: int
    mtime_ns: int
    header: Callable[[bytes], bytes] | None = None


def located(manifest: RemoteManifest, starts: list[int], file: RemoteFile) -> tuple[tuple[Frame, ...], int]:
    """Return the frames of the non-empty *file*, and its start in the first frame."""
    numbers = frames_of(starts, file.position, file.size)
    return tuple(manifest.frames[number] for number in numbers), file.position - starts[numbers[0]]


def read_manifests(transport: Transport, blobs: Iterable[Blob]) -> dict[Digest, RemoteManifest]:
    """Read manifests; raise RemoteError for one that differs from the index."""
    wanted = {blob.digest: blob for blob in blobs}
    rows = sorted((((blob.frame,), blob) for blob in wanted.values()), key=lambda row: row[0][0][:2])
    groups = _grouped(rows)
    found: dict[Digest, RemoteManifest] = {}

    def read(group: _Group[Blob]) -> None:
        frames = _frames(transport, [frame for several, _ in group for frame in several])
        for (_, data), (_, blob) in zip(frames, group, strict=True):
            if Digest.of(data) != blob.digest:
                raise RemoteError("A manifest of the remote differs from the signed one")
            found[blob.digest] = RemoteManifest.from_json(data)

    _at_once(read, groups)
    return found


class FileDownload:
    """Downloads files by several requests at once while the caller adds more.

    Calls *advance* with the numbers of finished files and bytes. At its end nothing is downloaded any more.
    """

    def __init__(self, transport: Transport, advance: Callable[[int, int], None]) -> None:
        self._transport, self._advance = transport, advance
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._started: list[Future[None]] = []
        self._waiting: _Group[WantedFile] = []
        # All threads may wait for the network. If more than there are processors write, they only wait for
        # the interpreter's lock, which each system call gives away: four times as many context switches.
        self._writing = Semaphore(os.cpu_count() or 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, wanted: Iterable[WantedFile]) -> None:
        """Download *wanted*, files of one manifest; those that fill no request wait for the next ones.

        Manifests that are added in the order of their frames need the fewest requests.
        """
        rows = ((one.frames, one) for one in sorted(wanted, key=lambda one: one.file.position))
        groups = _grouped([*self._waiting, *rows])
        self._waiting = groups.pop() if groups else []
        self._started += [self._pool.submit(self._bring, group) for group in groups]

    def finish(self) -> None:
        """Wait for all files; raise RemoteError for one that differs from its manifest."""
        self._started.append(self._pool.submit(self._bring, self._waiting))
        for done in as_completed(self._started):
            done.result()

    def _bring(self, group: _Group[WantedFile]) -> None:
        frames = _frames(self._transport, _union([frames for frames, _ in group]), self._writing)
        with closing(frames):
            current: tuple[Frame | None, bytes] = (None, b"")
            for _, one in group:
                current = _bring(one, frames, current)
        self._advance(len(group), sum(one.file.size for _, one in group))


def _bring(
    one: WantedFile, frames: Iterator[tuple[Frame, bytes]], current: tuple[Frame | None, bytes]
) -> tuple[Frame | None, bytes]:
    """Write one file from *frames*; return the last used frame, which the next file may need."""

    def pieces() -> Iterator[bytes]:
        nonlocal current
        skip, left = one.skip, one.file.size
        for frame in one.frames:
            while current[0] != frame:
                current = next(frames, (None, b""))
                if current[0] is None:
                    raise RemoteError("A manifest of the remote is damaged: its files overlap")
            piece = current[1][skip : skip + left]
            skip, left = 0, left - len(piece)
            yield piece

    if one.header is None:
        digest, size = write_new_file(one.new, pieces(), one.mode, one.mtime_ns, path=one.path)
    else:
        data = b"".join(pieces())
        digest, size = Digest.of(data), len(data)
        if digest == one.file.digest:
            write_new_file(one.new, [one.header(data)], one.mode, one.mtime_ns)
    if (digest, size) != (one.file.digest, one.file.size):
        raise RemoteError(f"{one.file.path} differs from what its signer named: its sha256 is {digest.hex()}")
    return current


def _grouped(rows: Iterable[tuple[tuple[Frame, ...], _T]]) -> list[_Group[_T]]:
    """Group consecutive rows for requests; a group needs each frame once, in order."""
    groups: list[_Group[_T]] = []
    last: Frame | None = None
    begin = 0
    for row in rows:
        first = row[0][0]
        near = last is not None and (first == last or _follows(last, first))
        if not near or (first != last and first.offset - begin > _REQUEST):
            groups.append([])
            begin = first.offset
        groups[-1].append(row)
        last = row[0][-1]
    return groups


def _at_once(work: Callable[[_T], None], parts: Iterable[_T]) -> None:
    """Call *work* with each of *parts*, several at once; the first error ends it."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for done in as_completed([pool.submit(work, part) for part in parts]):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _union(several: Iterable[tuple[Frame, ...]]) -> list[Frame]:
    """Return each frame once, in order."""
    return list(dict.fromkeys(frame for frames in several for frame in frames))


def _frames(
    transport: Transport, frames: list[Frame], writing: AbstractContextManager[object] | None = None
) -> Generator[tuple[Frame, bytes]]:
    """Read ordered frames in requests of at most `_REQUEST` bytes, and unpack them.

    Hold *writing* while the frames of a request are unpacked and used, not during the request.
    """
    start = 0
    while start < len(frames):
        first, stop = frames[start], start + 1
        while (
            stop < len(frames)
            and _follows(frames[stop - 1], frames[stop])
            and (frames[stop].offset + frames[stop].length - first.offset <= _REQUEST)
        ):
            stop += 1
        last = frames[stop - 1]
        length = last.offset + last.length - first.offset
        data = memoryview(transport.read_range(pack_name(first.pack), first.offset, length))
        with writing or nullcontext():
            for frame in frames[start:stop]:
                begin = frame.offset - first.offset
                yield frame, decompress(data[begin : begin + frame.length], frame.size)
        start = stop


def _follows(before: Frame, frame: Frame) -> bool:
    gap = frame.offset - before.offset - before.length
    return frame.pack == before.pack and 0 <= gap <= _GAP
