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

FORMAT = 1
_ODD = re.compile(r"(^|/)\.{0,2}(/|\Z)|\0")
"""What no path of an entry has: empty components, ``.``, ``..``, NUL; it stays below the entry."""


class FileEntry(NamedTuple):
    """One file of an entry; a tuple, since an environment has tens of thousands of them.

    ``path`` is relative to the entry and begins with its scheme: ``site/numpy/__init__.py``.
    ``size`` is in bytes.
    """

    path: str
    digest: Digest
    size: int
    executable: bool


def identity_of(files: Iterable[tuple[str, Digest, bool]]) -> Digest:
    """Identify a distribution by what its wheel brought to purelib and platlib.

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
    """What tells an entry from all others: a release, the tag of its wheel, the identity of its files."""

    name: str
    version: str
    tag: str
    identity: Digest

    @property
    def directory(self) -> str:
        """Path of the entry below the store's ``wheels/``."""
        return f"{self.name}/{self.version}/{self.tag}-{self.identity.hex()[:8]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What one wheel entry of the store holds.

    ``missing`` names what the wheel has but the entry not (yet); such an entry is partial and serves
    neither sync nor the finder. ``wheels`` are the archives known to unpack to these files.
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
        """Whether something that the wheel brings is not here."""
        return bool(self.missing)

    @property
    def label(self) -> Label:
        """What tells the entry from all others."""
        return Label(self.name, self.version, self.tag, self.identity)

    def merged(self, other: Manifest) -> Self:
        """Return this manifest completed by *other*, which has the same identity."""
        have = {entry.path for entry in self.files}
        files = self.files + tuple(entry for entry in other.files if entry.path not in have)
        have = {entry.path for entry in files}
        # What a wheel archive does not list as missing, it does not have: only an installed
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
            "files": [(e.path, e.digest.hex(), e.size, int(e.executable)) for e in self.files],
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; ValueError when it is not that."""
        try:
            document = json.loads(data)
            if document["version"] != FORMAT:
                raise ValueError(f"manifest of format {document['version']!r}, not {FORMAT}")
            odd = next((row[0] for row in document["files"] if _ODD.search(row[0])), None)
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
                files=tuple(
                    FileEntry(path, Digest.from_hex(digest), size, bool(executable))
                    for path, digest, size, executable in document["files"]
                ),
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error
