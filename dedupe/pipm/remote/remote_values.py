"""The content of a remote: an index for each signer, manifests, and packs of compressed frames.

`from_json` reads all of it except the signature and checks every value: numbers have limits, names are
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

FORMAT = 2
FRAME_SIZE = 4 << 20
"""Bytes of objects in a frame, before compression. With 1 MiB all is 7 % larger, with 16 MiB 4 % smaller."""
GRACE_DAYS = 7
"""Days that an unneeded pack stays, because a running push or pull may use it."""
LARGEST_FRAME = 16 << 20
LARGEST_MANIFEST = 256 << 20
_LARGEST = 1 << 50
_INTERPRETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")


class Frame(NamedTuple):
    """A zstd frame: its pack (sha256, hexadecimal), its offset, and its size compressed and unpacked."""

    pack: str
    offset: int
    length: int
    size: int


class Blob(NamedTuple):
    """A manifest in a pack: one frame, the sha256 of its content, and the packs that it names."""

    frame: Frame
    digest: Digest
    packs: tuple[str, ...] = ()


class RemoteFile(NamedTuple):
    """A file of an entry, whose bytes begin at *position* in the joined content of the manifest's frames.

    In a manifest of bytecode ``path`` is the sha256 of the source. ``kind``: 1 executable, 2 writable.
    """

    path: str
    digest: Digest
    size: int
    kind: int
    position: int


class RemoteManifest(NamedTuple):
    """The files of an entry, or its bytecode for one interpreter, and their frames."""

    frames: tuple[Frame, ...]
    files: tuple[RemoteFile, ...]

    @property
    def packs(self) -> tuple[str, ...]:
        """The packs that contain the frames."""
        return tuple(sorted({frame.pack for frame in self.frames}))

    def to_json(self) -> bytes:
        """Serialise; the same files and frames always give the same bytes."""
        numbers = {pack: number for number, pack in enumerate(self.packs)}
        document = {
            "packs": self.packs,
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
    """A row of an index: the signer states that these *archives* unpack to the entry's files.

    ``day`` is the day (since 1970) when a push named it; it may be some days too early.
    """

    name: str
    version: str
    tag: str
    identity: Digest
    archives: tuple[Digest, ...]
    manifest: Blob
    bytecode: dict[str, Blob]
    day: int

    @property
    def packs(self) -> set[str]:
        """The packs that contain any part of it."""
        return {pack for blob in (self.manifest, *self.bytecode.values()) for pack in _packs_of(blob)}

    @property
    def key(self) -> tuple[str, str, Digest]:
        """The key that identifies the entry."""
        return self.name, self.version, self.identity

    def merged(self, other: IndexEntry) -> Self:
        """Return this row with the archives and the bytecode of *other*."""
        archives = tuple(dict.fromkeys((*self.archives, *other.archives)))
        bytecode = other.bytecode | self.bytecode
        return self._replace(archives=archives, bytecode=bytecode, day=max(self.day, other.day))


class RemoteIndex(NamedTuple):
    """All entries of one signer; *serial* increases with each change.

    ``packs`` are those that the entries need, with their sizes, and those that no entry needs since some day
    (``unused``), which a running pull may still read.
    """

    serial: int
    entries: tuple[IndexEntry, ...]
    packs: dict[str, int]
    unused: dict[str, int]

    def merged(self, other: RemoteIndex) -> Self:
        """Return the index with the additions of *other*; where both differ, this one counts."""
        entries = {row.key: row for row in self.entries}
        for row in other.entries:
            entries[row.key] = entries[row.key].merged(row) if row.key in entries else row
        rows = tuple(entries[key] for key in sorted(entries))
        return self._holding(rows, self.packs | other.packs, self.unused | other.unused)

    def without(self, before: int, today: int) -> Self:
        """Return the index without entries that no push has named since the day *before*."""
        rows = tuple(row for row in self.entries if row.day >= before)
        lost = dict.fromkeys(self.packs.keys() - _needed(rows) - self.unused.keys(), today)
        waiting = {pack: day for pack, day in self.unused.items() if today - day <= GRACE_DAYS}
        return self._holding(rows, self.packs, waiting | lost)

    def _holding(self, rows: tuple[IndexEntry, ...], packs: dict[str, int], unused: dict[str, int]) -> Self:
        needed = _needed(rows)
        unused = {pack: day for pack, day in unused.items() if pack not in needed}
        kept = {pack: size for pack, size in packs.items() if pack in needed or pack in unused}
        return self._replace(entries=rows, packs=kept, unused=unused)

    def to_json(self) -> bytes:
        """Serialise."""
        numbers = {pack: number for number, pack in enumerate(self.packs)}
        rows = [
            {
                "name": row.name,
                "version": row.version,
                "tag": row.tag,
                "identity": row.identity.hex(),
                "archives": [archive.hex() for archive in row.archives],
                "manifest": _blob_row(row.manifest, numbers),
                "bytecode": {name: _blob_row(blob, numbers) for name, blob in sorted(row.bytecode.items())},
                "day": row.day,
            }
            for row in self.entries
        ]
        packs = [(pack, size, self.unused.get(pack)) for pack, size in self.packs.items()]
        return _json({"format": FORMAT, "serial": self.serial, "packs": packs, "entries": rows})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; RemoteError when it is not that."""
        with _Reading("index"):
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise RemoteError(
                    f"The remote's index has format {document['format']!r}, this pipm reads {FORMAT}",
                    hint="use the same version of pipm to push and to pull, or push to an empty remote",
                )
            sizes = {Digest.from_hex(pack).hex(): _number(size) for pack, size, _ in document["packs"]}
            packs = list(sizes)
            rows = tuple(
                IndexEntry(
                    name=_text(row["name"]),
                    version=_text(row["version"]),
                    tag=_text(row["tag"]),
                    identity=Digest.from_hex(row["identity"]),
                    archives=tuple(map(Digest.from_hex, row["archives"])),
                    manifest=_blob(packs, row["manifest"]),
                    bytecode={
                        _interpreter(name): _blob(packs, blob) for name, blob in row["bytecode"].items()
                    },
                    day=_number(row["day"]),
                )
                for row in document["entries"]
            )
            unused = {pack: _number(day) for pack, _, day in document["packs"] if day is not None}
            return cls(_number(document["serial"], _LARGEST), rows, sizes, unused)


NOTHING = RemoteIndex(0, (), {}, {})


class _Reading:
    """Raises RemoteError for a document of another form."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, LookupError, TypeError, AttributeError, RecursionError)):
            raise RemoteError(f"The remote's {self._what} is damaged: {error}") from error


def _json(document: Any) -> bytes:  # noqa: ANN401 - what JSON can say
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _packs_of(blob: Blob) -> set[str]:
    return {blob.frame.pack, *blob.packs}


def _needed(rows: Iterable[IndexEntry]) -> set[str]:
    return {pack for row in rows for pack in row.packs}


def _blob_row(blob: Blob, numbers: dict[str, int]) -> tuple[object, ...]:
    packs = [numbers[pack] for pack in blob.packs]
    return numbers[blob.frame.pack], *blob.frame[1:], blob.digest.hex(), packs


def _blob(packs: list[str], row: Any) -> Blob:  # noqa: ANN401 - what JSON can say
    pack, offset, length, size, digest, named = row
    numbers = (_number(offset), _number(length, LARGEST_MANIFEST), _number(size, LARGEST_MANIFEST))
    frame = Frame(_named(packs, pack), *numbers)
    return Blob(frame, Digest.from_hex(digest), tuple(_named(packs, number) for number in named))


def _named(packs: list[str], number: Any) -> str:  # noqa: ANN401 - what JSON can say
    return packs[_number(number, len(packs) - 1)]


def _frame(packs: list[str], row: Any) -> Frame:  # noqa: ANN401 - what JSON can say
    pack, offset, length, size = row
    return Frame(
        _named(packs, pack), _number(offset), _number(length, LARGEST_FRAME), _number(size, LARGEST_FRAME)
    )


def _number(value: Any, most: int = _LARGEST) -> int:  # noqa: ANN401 - what JSON can say
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is not a number from 0 to {most}")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - what JSON can say
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _interpreter(name: str) -> str:
    if not _INTERPRETER.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an interpreter")
    return name
