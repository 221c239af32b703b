"""What lies in a remote: an index for each signer, manifests, and packs of compressed frames.

All of it but the signature is read by `from_json`, which believes nothing: numbers have limits, names are
digests. `dedupe/README.md` describes the format.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pipm.core.digest import Digest
from pipm.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1
FRAME_SIZE = 1 << 20
"""Bytes of objects that a frame holds, before compression."""
LARGEST_FRAME = 16 << 20
LARGEST_MANIFEST = 256 << 20
_LARGEST = 1 << 50
_INTERPRETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")


class Frame(NamedTuple):
    """A zstd frame: the pack it lies in (sha256, hexadecimal), where, and its size as it is and unpacked."""

    pack: str
    offset: int
    length: int
    size: int


class Blob(NamedTuple):
    """A manifest in a pack: one frame, and the sha256 of what is in it."""

    frame: Frame
    digest: Digest


class RemoteFile(NamedTuple):
    """A file of an entry, whose bytes begin at *position* of the manifest's frames, one after the other.

    In a manifest of bytecode ``path`` is the sha256 of the source. ``kind``: 1 executable, 2 writable.
    """

    path: str
    digest: Digest
    size: int
    kind: int
    position: int


class RemoteManifest(NamedTuple):
    """The files of an entry, or its bytecode for one interpreter, and the frames that hold them."""

    frames: tuple[Frame, ...]
    files: tuple[RemoteFile, ...]

    def to_json(self) -> bytes:
        """Serialise; the same files and frames always give the same bytes."""
        packs = sorted({frame.pack for frame in self.frames})
        numbers = {pack: number for number, pack in enumerate(packs)}
        document = {
            "packs": packs,
            "frames": [(numbers[f.pack], f.offset, f.length, f.size) for f in self.frames],
            "files": [(f.path, f.digest.hex(), f.size, f.kind, f.position) for f in self.files],
        }
        return _json(document)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; RemoteError when it is not that."""
        with _Reading("manifest"):
            document = json.loads(data)
            packs = [Digest.from_hex(pack).hex() for pack in document["packs"]]
            frames = tuple(_frame(packs, row) for row in document["frames"])
            end = sum(frame.size for frame in frames)
            files = tuple(
                RemoteFile(
                    _text(path),
                    Digest.from_hex(digest),
                    _number(size, end),
                    _number(kind, 3),
                    _number(position, end - size),
                )
                for path, digest, size, kind, position in document["files"]
            )
            return cls(frames, files)


class IndexEntry(NamedTuple):
    """What an index says of an entry: the signer vouches that these *archives* unpack to its files."""

    name: str
    version: str
    tag: str
    identity: Digest
    archives: tuple[Digest, ...]
    manifest: Blob
    bytecode: dict[str, Blob]

    @property
    def key(self) -> tuple[str, str, Digest]:
        """What tells the entry from all others."""
        return self.name, self.version, self.identity

    def merged(self, other: IndexEntry) -> Self:
        """Return this row with the archives and the bytecode that *other* adds."""
        archives = tuple(dict.fromkeys((*self.archives, *other.archives)))
        return self._replace(archives=archives, bytecode=other.bytecode | self.bytecode)


class Index(NamedTuple):
    """All entries that one signer vouches for; *serial* grows with each change."""

    serial: int
    entries: tuple[IndexEntry, ...]

    def merged(self, rows: Iterable[IndexEntry]) -> Self:
        """Return the next index, with *rows* besides."""
        entries = {row.key: row for row in self.entries}
        for row in rows:
            entries[row.key] = entries[row.key].merged(row) if row.key in entries else row
        return type(self)(self.serial + 1, tuple(entries[key] for key in sorted(entries)))

    def to_json(self) -> bytes:
        """Serialise."""
        rows = [
            {
                "name": row.name,
                "version": row.version,
                "tag": row.tag,
                "identity": row.identity.hex(),
                "archives": [archive.hex() for archive in row.archives],
                "manifest": _blob_row(row.manifest),
                "bytecode": {name: _blob_row(blob) for name, blob in sorted(row.bytecode.items())},
            }
            for row in self.entries
        ]
        return _json({"format": FORMAT, "serial": self.serial, "entries": rows})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; RemoteError when it is not that."""
        with _Reading("index"):
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, not {FORMAT}")
            rows = tuple(
                IndexEntry(
                    name=_text(row["name"]),
                    version=_text(row["version"]),
                    tag=_text(row["tag"]),
                    identity=Digest.from_hex(row["identity"]),
                    archives=tuple(map(Digest.from_hex, row["archives"])),
                    manifest=_blob(row["manifest"]),
                    bytecode={_interpreter(name): _blob(blob) for name, blob in row["bytecode"].items()},
                )
                for row in document["entries"]
            )
            return cls(_number(document["serial"], _LARGEST), rows)


NOTHING = Index(0, ())


class _Reading:
    """What is no such document is a RemoteError."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, LookupError, TypeError, AttributeError, RecursionError)):
            raise RemoteError(f"The remote's {self._what} is damaged: {error}") from error


def _json(document: Any) -> bytes:  # noqa: ANN401 - what JSON can say
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _blob_row(blob: Blob) -> tuple[str, int, int, int, str]:
    return (*blob.frame, blob.digest.hex())


def _blob(row: Any) -> Blob:  # noqa: ANN401 - what JSON can say
    pack, offset, length, size, digest = row
    numbers = (_number(offset), _number(length, LARGEST_MANIFEST), _number(size, LARGEST_MANIFEST))
    return Blob(Frame(Digest.from_hex(pack).hex(), *numbers), Digest.from_hex(digest))


def _frame(packs: list[str], row: Any) -> Frame:  # noqa: ANN401 - what JSON can say
    pack, offset, length, size = row
    place = _number(pack, len(packs) - 1)
    return Frame(packs[place], _number(offset), _number(length, LARGEST_FRAME), _number(size, LARGEST_FRAME))


def _number(value: Any, most: int = _LARGEST) -> int:  # noqa: ANN401 - what JSON can say
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no number from 0 to {most}")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - what JSON can say
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _interpreter(name: str) -> str:
    if not _INTERPRETER.fullmatch(name):
        raise ValueError(f"{name!r} names no interpreter")
    return name
