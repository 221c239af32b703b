"""Writing packs: files go into compressed frames, frames into packs, packs to the remote."""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Self

from pipm.core.digest import Digest
from pipm.remote.extra_libraries import compress
from pipm.remote.remote_values import FRAME_SIZE, Blob, Frame, RemoteFile, RemoteManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from concurrent.futures import Future

    from pipm.remote.transport import Transport

_PACK_SIZE = 32 << 20
"""Bytes of a pack; a pull reads parts of it. At most two are in memory."""
_PROCESSORS = min(os.cpu_count() or 1, 8)
"""Processors that compress; each needs about 100 MB."""

_NEW_SECONDS = 24 * 3600
"""Seconds: a push uses only unnamed packs younger than this; they stay until it ends (`GRACE_DAYS`)."""
_SKIPPABLE = (0x184D2A50).to_bytes(4, "little") + (16).to_bytes(4, "little")
"""The head of a frame with 16 bytes that decompressors skip (RFC 8878)."""


def pack_name(pack: str) -> str:
    """Return the path in a remote of the pack with this sha256."""
    return f"v1/packs/{pack[:2]}/{pack}"


class _Uploaded(NamedTuple):
    """A pack in the remote, and whether this push uploaded it."""

    pack: str
    size: int
    new: bool


class PackWriter:
    """Compresses frames on several processors, in their order, and uploads packs of them.

    Until `finish` a frame has a number instead of a place, because only a full pack has a name. The same
    frames in the same order give the same packs, so a repeated push finds what the interrupted one
    uploaded.
    """

    def __init__(self, transport: Transport, known: Collection[str]) -> None:
        self._transport, self._known = transport, known
        self._pool = ThreadPoolExecutor(2 + _PROCESSORS)
        self._compressing: deque[tuple[int, Future[bytes]]] = deque()
        self._uploading: deque[tuple[list[tuple[int, int, int]], Future[_Uploaded]]] = deque()
        self._parts: list[bytes] = []
        self._filled = 0
        self._open: list[tuple[int, int, int]] = []  # offset, length and size of each frame in the pack
        self._frames: list[Frame] = []
        self._count = 0
        self.sizes: dict[str, int] = {}
        """The packs that contain the frames."""
        self.uploaded = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, data: bytes) -> Frame:
        """Add a frame of *data*; `resolved` gives its place later."""
        self._compressing.append((len(data), self._pool.submit(compress, data)))
        while len(self._compressing) > 2 * _PROCESSORS:
            self._take()
        self._count += 1
        return Frame("", self._count - 1, 0, len(data))

    def finish(self) -> list[Frame]:
        """Upload the rest; return the places of all frames in the order of `add`."""
        while self._compressing:
            self._take()
        self._close_pack()
        while self._uploading:
            self._finish_upload()
        return self._frames

    def _take(self) -> None:
        size, compressed = self._compressing.popleft()
        frame = compressed.result()
        if self._filled and self._filled + len(frame) > _PACK_SIZE:
            self._close_pack()
        self._open.append((self._filled, len(frame), size))
        self._parts.append(frame)
        self._filled += len(frame)

    def _close_pack(self) -> None:
        if not self._open:
            return
        while len(self._uploading) > 1:
            self._finish_upload()
        self._uploading.append((self._open, self._pool.submit(self._upload, b"".join(self._parts))))
        self._open, self._parts, self._filled = [], [], 0

    def _finish_upload(self) -> None:
        rows, upload = self._uploading.popleft()
        done = upload.result()
        self.sizes[done.pack] = done.size
        self.uploaded += done.size if done.new else 0
        self._frames += [Frame(done.pack, *row) for row in rows]

    def _upload(self, data: bytes) -> _Uploaded:
        """Upload a pack.

        Use an existing one that no index names only if a push wrote it lately: a prune may remove older ones
        at any moment, so an unused frame gives the pack another name.
        """
        pack = Digest.of(data).hex()
        if pack in self._known:
            return _Uploaded(pack, len(data), new=False)
        modified = self._transport.modified(pack_name(pack))
        if modified is not None and abs(time.time() - modified) < _NEW_SECONDS:
            return _Uploaded(pack, len(data), new=False)
        if modified is not None:
            data += _SKIPPABLE + os.urandom(16)
            pack = Digest.of(data).hex()
        self._transport.write(pack_name(pack), data)
        return _Uploaded(pack, len(data), new=True)


class ManifestWriter:
    """Makes a manifest: it refers to files that the remote has, and gives others to *writer*."""

    def __init__(self, writer: PackWriter, known: Iterable[RemoteManifest], wanted: Iterable[Digest]) -> None:
        self._writer = writer
        self._frames: list[Frame] = []
        self._files: list[RemoteFile] = []
        self._places: dict[Digest, int] = {}
        self._end = 0
        self._buffer: list[bytes] = []
        self._filled = 0
        missing = set(wanted)
        for manifest in known:
            missing -= self._reuse(manifest, missing)

    def _reuse(self, manifest: RemoteManifest, wanted: set[Digest]) -> set[Digest]:
        """Reuse the frames of *manifest* that contain *wanted* files, in their order."""
        found = {file.digest: file for file in manifest.files if file.size and file.digest in wanted}
        starts = frame_starts(manifest.frames)
        needed = {number for file in found.values() for number in frames_of(starts, file.position, file.size)}
        moved = {}
        for number in sorted(needed):
            moved[number] = self._end
            self._frames.append(manifest.frames[number])
            self._end += manifest.frames[number].size
        for digest, file in found.items():
            first = frames_of(starts, file.position, file.size)[0]
            self._places[digest] = moved[first] + file.position - starts[first]
        return set(found)

    def add(
        self, path: str, digest: Digest, size: int, kind: int, read: Callable[[], Iterator[bytes]]
    ) -> None:
        """Add a file; if the remote lacks it, take its bytes from *read*, in pieces of `FRAME_SIZE`."""
        if size and digest not in self._places:
            if self._filled + size > FRAME_SIZE:
                self._flush()
            self._places[digest] = self._end + self._filled
            for piece in read():
                self._buffer.append(piece)
                self._filled += len(piece)
                if self._filled >= FRAME_SIZE:
                    self._flush()
        self._files.append(RemoteFile(path, digest, size, kind, self._places.get(digest, 0)))

    def close(self) -> None:
        """Finish the last frame, after all files were added."""
        self._flush()

    def so_far(self) -> RemoteManifest:
        """Return the manifest for reuse by others; its frames have no place yet."""
        return RemoteManifest(tuple(self._frames), tuple(self._files))

    def manifest(self, frames: list[Frame]) -> RemoteManifest:
        """Return the manifest, with the places of all frames of the `PackWriter`."""
        return RemoteManifest(tuple(resolved(frame, frames) for frame in self._frames), tuple(self._files))

    def _flush(self) -> None:
        if self._filled:
            self._frames.append(self._writer.add(b"".join(self._buffer)))
            self._end += self._filled
            self._buffer, self._filled = [], 0


def write_manifests(writer: PackWriter, manifests: Iterable[RemoteManifest]) -> list[Blob]:
    """Write *manifests* to packs, each as one frame, and finish *writer*."""
    rows = []
    for manifest in manifests:
        data = manifest.to_json()
        rows.append((writer.add(data), Digest.of(data), manifest.packs))
    frames = writer.finish()
    return [Blob(resolved(frame, frames), digest, packs) for frame, digest, packs in rows]


def resolved(frame: Frame, frames: list[Frame]) -> Frame:
    """Return *frame* with its place from *frames*, if `PackWriter.add` gave it a number."""
    return frame if frame.pack else frames[frame.offset]


def frame_starts(frames: Iterable[Frame]) -> list[int]:
    """Return the offset of each frame in the bytes of all, and the end of the last one."""
    starts = [0]
    for frame in frames:
        starts.append(starts[-1] + frame.size)
    return starts


def frames_of(starts: list[int], position: int, size: int) -> range:
    """Return the numbers of the frames with the *size* bytes (at least one) from *position*."""
    return range(bisect_right(starts, position) - 1, bisect_left(starts, position + size))
