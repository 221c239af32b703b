"""What an environment whose modules come from the store by the finder tells of itself."""

from __future__ import annotations

import json
import marshal
import os
import zlib
from typing import TYPE_CHECKING, NamedTuple

from pipm.fs.beneath import is_there, open_beneath, read_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = ".pipm/finder"
RECEIPT = "receipt.json"
HIDDEN_FILE = "metadata"
"""In `FOLDER`, of an environment without metadata folders: what they had besides what the store has."""
_FORMAT = 1


class Folded(NamedTuple):
    """A distribution that has no modules here: its metadata folder, its entry below the store's ``wheels/``.

    ``record`` is its RECORD's `record_digest`: whoever installs it anew by other means writes another.
    ``bytecode`` names what it had of compiled modules, relative to site-packages; ``dropped`` are files of
    the environment's own that were taken away, too, with their text.
    """

    metadata: str
    entry: str
    record: str
    bytecode: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...] = ()


class Receipt(NamedTuple):
    """What was folded away in the one site-packages at ``site``, into which store."""

    store: str
    site: str
    folded: Mapping[str, Folded]


def read_receipt(root: int) -> Receipt | None:
    """Read the receipt of the environment open as *root*; None where there is none that can be read."""
    try:
        file = open_beneath(root, f"{FOLDER}/{RECEIPT}", os.O_RDONLY)
    except OSError:
        return None
    with open(file, "rb") as stream:
        data = stream.read()
    try:
        document = json.loads(data)
        if document["version"] != _FORMAT:
            return None
        rows = [
            Folded(metadata, entry, record, tuple(bytecode), tuple((name, text) for name, text in dropped))
            for metadata, entry, record, bytecode, dropped in document["folded"]
        ]
        return Receipt(document["store"], document["site"], {row.metadata: row for row in rows})
    except (KeyError, TypeError, ValueError):
        return None


def has_finder(root: int) -> bool:
    """Whether the environment open as *root* has the finder, though a power cut may have torn its receipt."""
    return is_there(root, FOLDER)


class PutAway(NamedTuple):
    """A file of a metadata folder that was put away: its mode, its bytes where they are not the store's."""

    mode: int
    data: bytes | None


def read_hidden(root: int) -> dict[str, dict[str, PutAway]]:
    """The metadata folders that were put away in the environment open as *root*, each with its files."""
    data = read_beneath(root, f"{FOLDER}/{HIDDEN_FILE}")
    if data is None:
        return {}
    try:
        document = marshal.loads(data)  # noqa: S302 - of the environment's own code, as its modules are
        return {
            info: {name: PutAway(*row) for name, row in files.items()} for info, files in document.items()
        }
    except (EOFError, ValueError, TypeError, AttributeError):
        return {}


def hidden_bytes(away: Mapping[str, Mapping[str, PutAway]]) -> bytes:
    """Write what `read_hidden` reads; the finder reads it, too, in any version of Python."""
    return marshal.dumps(
        {info: {name: tuple(row) for name, row in files.items()} for info, files in away.items()}, 4
    )


def receipt_bytes(store: str, site: str, folded: Iterable[Folded]) -> bytes:
    """Write what `read_receipt` reads."""
    document = {"version": _FORMAT, "store": store, "site": site, "folded": sorted(folded)}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def record_digest(record: bytes) -> str:
    """How a receipt remembers a RECORD. Nobody gains by forging one, and sha256 takes eight times as long."""
    return f"{len(record)}-{zlib.crc32(record):08x}"


def is_record(record: bytes, digest: str) -> bool:
    """Whether *digest*, out of a receipt, is that of *record*."""
    if "-" in digest:
        return record_digest(record) == digest
    import hashlib  # noqa: PLC0415 - a receipt of an earlier pipm

    return hashlib.sha256(record).hexdigest() == digest
