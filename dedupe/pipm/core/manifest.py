"""The files of one unpacked distribution, and the identity that follows from them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from pipm.core.digest import Digest
from pipm.core.record import is_bytecode, is_installers_own

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 2
_LEGACY = 1
"""Rows of this format have no mode and no time: both followed from the content."""
_LONGEST_TAG = 200
"""Characters of a tag in the name of an entry; a file name has at most 255 bytes."""
_ODD = re.compile(r"(^|/)\.{0,2}(/|\Z)|\0")
"""Parts that no path of an entry has: empty components, ``.``, ``..``, NUL."""


class FileEntry(NamedTuple):
    """One file of an entry; a tuple, since an environment has tens of thousands of them.

    ``path`` is relative to the entry and begins with its scheme: ``site/numpy/__init__.py``.
    ``size`` is in bytes. ``writable``: its object is of the kind that Python does not import. ``mode`` (the
    permission bits) and ``mtime_ns`` are those of the stored file.
    """

    path: str
    digest: Digest
    size: int
    executable: bool
    writable: bool
    mode: int
    mtime_ns: int

    @property
    def object_name(self) -> str:
        """Path of its object below the store's ``objects/``."""
        return self.digest.object_name(executable=self.executable, writable=self.writable)


def _legacy_entry(path: str, digest: str, size: int, executable: int) -> FileEntry:
    """Read a row of manifest format 1, whose mode and time followed from the content."""
    content = Digest.from_hex(digest)
    mode = 0o555 if executable else 0o444
    return FileEntry(path, content, size, bool(executable), False, mode, content.legacy_mtime_ns)


def _entry(path: str, digest: str, size: int, kind: int, mode: int, mtime_ns: int) -> FileEntry:
    return FileEntry(path, Digest.from_hex(digest), size, bool(kind & 1), bool(kind & 2), mode, mtime_ns)


def identity_of(files: Iterable[tuple[str, Digest, bool]]) -> Digest:
    """Identify a distribution by its wheel's files in purelib and platlib.

    *files* are ``(path in site-packages, digest, executable)``. The same wheel has the same identity
    whether it is read from a ``.whl`` or out of an environment; a patched one never has it.
    """
    rows = sorted(
        (path, digest.hex(), executable)
        for path, digest, executable in files
        if not is_installers_own(path) and not is_bytecode(path)
    )
    state = hashlib.sha256()
    for path, digest, executable in rows:
        state.update(f"{path}\0{digest}\0{int(executable)}\n".encode("utf-8", "surrogateescape"))
    return Digest(state.digest())


class Label(NamedTuple):
    """The key of an entry: a release, the tag of its wheel, the identity of its files."""

    name: str
    version: str
    tag: str
    identity: Digest

    @property
    def directory(self) -> str:
        """Path of the entry below the store's ``wheels/``.

        A wheel may have too many tags for a file name: then a digest replaces the rest.
        """
        tag = self.tag
        if len(tag) > _LONGEST_TAG:
            tag = f"{tag[:_LONGEST_TAG]}-{Digest.of(tag.encode()).hex()[:16]}"
        return f"{self.name}/{self.version}/{tag}-{self.identity.hex()[:8]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The content of a wheel's entry.

    ``missing`` names the wheel's files that the entry lacks; such an entry is partial, and
    neither sync nor the finder uses it. ``wheels`` are the archives known to unpack to these files.
    """

    name: str
    version: str
    tag: str
    identity: Digest
    origin: str
    files: tuple[FileEntry, ...]
    missing: tuple[str, ...] = ()
    wheels: tuple[Digest, ...] = ()

    @property
    def partial(self) -> bool:
        """True if files of the wheel are missing."""
        return bool(self.missing)

    @property
    def label(self) -> Label:
        """The key of the entry."""
        return Label(self.name, self.version, self.tag, self.identity)

    def merged(self, other: Manifest) -> Self:
        """Return this manifest completed by *other*, which has the same identity."""
        have = {entry.path for entry in self.files}
        files = self.files + tuple(entry for entry in other.files if entry.path not in have)
        have = {entry.path for entry in files}
        # Files that a wheel archive does not list do not exist in it: only an installed
        # environment is unsure of its scripts.
        missing = () if not other.missing else tuple(p for p in self.missing if p not in have)
        wheels = tuple(dict.fromkeys(self.wheels + other.wheels))
        return replace(self, files=files, missing=missing, wheels=wheels)

    def to_json(self) -> bytes:
        """Serialise; paths keep undecodable bytes as surrogates."""
        document = {
            "version": FORMAT,
            "name": self.name,
            "release": self.version,
            "tag": self.tag,
            "identity": self.identity.hex(),
            "origin": self.origin,
            "missing": self.missing,
            "wheels": [wheel.hex() for wheel in self.wheels],
            "files": [row_of(entry) for entry in self.files],
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; ValueError when it is not that."""
        try:
            document = json.loads(data)
            version = document["version"]
            if version not in (_LEGACY, FORMAT):
                raise ValueError(f"manifest of format {version!r}, not {FORMAT}")
            row = _entry if version == FORMAT else _legacy_entry
            odd = next((columns[0] for columns in document["files"] if _ODD.search(columns[0])), None)
            if odd is not None:
                raise ValueError(f"the path {odd!r} leaves the entry")
            return cls(
                name=document["name"],
                version=document["release"],
                tag=document["tag"],
                identity=Digest.from_hex(document["identity"]),
                origin=document["origin"],
                missing=tuple(document["missing"]),
                wheels=tuple(map(Digest.from_hex, document["wheels"])),
                files=tuple(row(*columns) for columns in document["files"]),
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


Row = tuple[str, str, int, int, int, int]
"""A file's row in a manifest's JSON: path, sha256 (hexadecimal), size, kind, mode, time."""


def rows_in(data: bytes) -> list[Row]:
    """Read the rows of a manifest's JSON unchanged; raise ValueError if they are not rows.

    Reading a whole `Manifest` takes three times as long.
    """
    try:
        document = json.loads(data)
        if document["version"] == _LEGACY:
            return [row_of(_legacy_entry(*row)) for row in document["files"]]
        return [(path, *columns) for path, *columns in document["files"]]
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a manifest: {error}") from error


def row_of(entry: FileEntry) -> Row:
    """Return the row of *entry* in a manifest's JSON."""
    kind = entry.executable | entry.writable << 1
    return (entry.path, entry.digest.hex(), entry.size, kind, entry.mode, entry.mtime_ns)


def entry_of(row: Row) -> FileEntry:
    """Read a row of a manifest's JSON; raise ValueError if its sha256 is not valid."""
    return _entry(*row)
