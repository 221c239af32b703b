"""A sha256 digest and its three text forms."""

from __future__ import annotations

import base64
import binascii

from pipm.core.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_URLSAFE = bytes.maketrans(b"-_", b"+/")
_LEGACY_EPOCH = 315619200


class Digest(bytes):
    """The 32 raw bytes of a sha256, which RECORD, all lock formats and the store use."""

    __slots__ = ()

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the digest of *data*."""
        return cls(sha256(data).digest())

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read the 64 hexadecimal digits of manifests and lock files; ValueError if they are not."""
        if len(text) != 64:  # fromhex passes over blanks
            raise ValueError(f"not a sha256: {text!r}")
        raw = bytes.fromhex(text)
        if len(raw) != 32:
            raise ValueError(f"not a sha256: {text!r}")
        return cls(raw)

    @classmethod
    def from_record(cls, text: str) -> Self | None:
        """Read RECORD's ``sha256=<urlsafe base64 without padding>``; None for anything else."""
        if not text.startswith("sha256="):
            return None
        try:
            return cls.from_urlsafe(text[7:].encode("ascii"))
        except ValueError:  # no ASCII is one, too
            return None

    @classmethod
    def from_urlsafe(cls, text: bytes) -> Self:
        """Read the 43 characters of RECORD's base64; ValueError if they are not."""
        raw = binascii.a2b_base64(text.translate(_URLSAFE) + b"=")  # binascii.Error is a ValueError
        if len(raw) != 32:
            raise ValueError(f"not a sha256: {text!r}")
        return cls(raw)

    @property
    def record(self) -> str:
        """The text form in RECORD files."""
        return "sha256=" + base64.urlsafe_b64encode(self).rstrip(b"=").decode("ascii")

    @property
    def legacy_mtime_ns(self) -> int:
        """Modification time (ns) that follows from the content.

        A store of manifest format 1 gave it to all files, and the finder's own sources have it.
        """
        return (_LEGACY_EPOCH + (int.from_bytes(self[:4]) >> 2)) * 1_000_000_000

    def object_name(self, *, executable: bool, writable: bool = False) -> str:
        """Path below the store's ``objects/``.

        The same content may have several objects: a file that Python imports is read-only in the store,
        another one (*writable*) keeps its owner's write permission, because programs copy templates with
        their mode.
        """
        text = self.hex()
        kind = ("", "-w", "-x", "-xw")[2 * executable + writable]
        return f"{text[:2]}/{text[2:]}{kind}"


EMPTY = Digest.of(b"")


def digest_of(chunks: Iterable[bytes]) -> Digest:
    """Return the digest of all *chunks* one after the other."""
    import hashlib  # noqa: PLC0415 - OpenSSL's takes a while to load, and is the faster one

    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return Digest(state.digest())
