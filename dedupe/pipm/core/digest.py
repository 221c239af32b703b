"""A sha256 in its three spellings, and the modification time that follows from it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Self

from pipm.core.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

_URLSAFE = bytes.maketrans(b"-_", b"+/")
_EPOCH = 315619200
"""1980-01-02 UTC in seconds: no zip file, time zone or FAT volume has trouble with it."""

LATEST = _EPOCH + (1 << 30)
"""No content's modification time (in seconds) is so late; that of a file that was written to in place is."""


class Digest(bytes):
    """The 32 raw bytes of a sha256; RECORD, every lock format and the store speak it."""

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
        """The spelling of RECORD files."""
        return "sha256=" + base64.urlsafe_b64encode(self).rstrip(b"=").decode("ascii")

    @property
    def mtime(self) -> int:
        """Modification time in seconds that every stored file of this content has.

        A function of the content: equal size and mtime mean equal content (one chance in 2**30), and
        a timestamp ``.pyc`` can never be stale against another version's source.
        """
        return _EPOCH + (int.from_bytes(self[:4]) >> 2)

    @property
    def mtime_ns(self) -> int:
        """`mtime` in nanoseconds."""
        return (_EPOCH + (int.from_bytes(self[:4]) >> 2)) * 1_000_000_000

    def object_name(self, *, executable: bool) -> str:
        """Path below the store's ``objects/``; the executable bit is part of a file's identity."""
        text = self.hex()
        return f"{text[:2]}/{text[2:]}-x" if executable else f"{text[:2]}/{text[2:]}"


EMPTY = Digest.of(b"")


def digest_of(chunks: Iterable[bytes]) -> Digest:
    """Return the digest of all *chunks* one after the other."""
    import hashlib  # noqa: PLC0415 - OpenSSL's takes a while to load, and is the faster one

    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return Digest(state.digest())
