"""The hashes in a wheel's RECORD, and mismatches with its members."""

from __future__ import annotations

import base64
import hashlib
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.core.digest import Digest
    from pipm.core.record import RecordRow

_ALGORITHMS = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The bytes of a digest."""


class RecordHash(NamedTuple):
    """The row of a member in RECORD: algorithm and digest, and the size in bytes or None."""

    algorithm: str
    digest: bytes
    size: int | None


class RecordMismatch(NamedTuple):
    """A member that differs from RECORD in a wheel that has the hash in the lock, and the difference."""

    wheel: str
    member: str
    why: str


def record_hash(row: RecordRow) -> RecordHash | None:
    """Return a row's hash if it is sha256 or better, which the wheel format requires; otherwise None."""
    algorithm, _, text = row.hash.partition("=")
    if algorithm not in _ALGORITHMS:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return RecordHash(algorithm, raw, row.size) if len(raw) == _ALGORITHMS[algorithm] else None


def is_locked(stream: IO[bytes], archive: Digest, hashes: Iterable[tuple[str, str]]) -> bool:
    """Return True if the archive *stream*, with the sha256 *archive*, has one of *hashes*.

    *hashes* are (algorithm, hexadecimal digest).
    """
    for algorithm, value in hashes:
        if algorithm == "sha256" and value == archive.hex():
            return True
        if algorithm != "sha256" and algorithm in _ALGORITHMS:
            stream.seek(0)
            if hashlib.file_digest(stream, algorithm).hexdigest() == value:  # type: ignore[arg-type] # it is a file
                return True
    return False
