"""Writing the blobs of an OCI image layout: layers as compressed tar archives, named by their content."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from pipm.fs.image_files import write_tar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.fs.image_files import ImageFile

_BLOBS = "blobs/sha256"
_LEVEL = 6


class LayerBlob(NamedTuple):
    """A blob's sha256 (hexadecimal) and size; ``unpacked`` is the sha256 of a layer before compression."""

    digest: str
    size: int
    unpacked: str = ""


def make_layout(folder: str) -> None:
    """Make the new directory *folder* a layout without images."""
    os.makedirs(f"{folder}/{_BLOBS}", 0o755)


def write_layer(folder: str, files: Iterable[ImageFile], time: int) -> LayerBlob:
    """Write *files* as a layer of the layout *folder*."""
    temporary = f"{folder}/{os.urandom(8).hex()}"
    with open(temporary, "xb") as stream:
        packed = _Hashing(stream)
        # A name or a time in gzip's header would make equal layers differ.
        with gzip.GzipFile("", "wb", _LEVEL, packed, mtime=0) as compressed:
            plain = _Hashing(compressed)
            write_tar(cast("IO[bytes]", plain), files, time)
    digest = packed.state.hexdigest()
    size = os.stat(temporary).st_size
    os.rename(temporary, f"{folder}/{_BLOBS}/{digest}")
    return LayerBlob(digest, size, plain.state.hexdigest())


def write_blob(folder: str, data: bytes) -> LayerBlob:
    """Write *data* as a blob of the layout *folder*."""
    digest = hashlib.sha256(data).hexdigest()
    write_layout_file(folder, f"{_BLOBS}/{digest}", data)
    return LayerBlob(digest, len(data))


def write_layout_file(folder: str, name: str, data: bytes) -> None:
    """Write the file *name* of the layout *folder*."""
    with open(f"{folder}/{name}", "wb") as stream:
        stream.write(data)


class _Hashing(io.RawIOBase):
    """A stream that hashes the data and writes it to another stream."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.state = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - any bytes-like object
        self.state.update(data)
        self._stream.write(data)
        return memoryview(data).nbytes
