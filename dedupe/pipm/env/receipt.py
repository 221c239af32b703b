"""What an environment whose modules come from the store by the finder tells of itself."""

from __future__ import annotations

import json
import marshal
import os
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from pipm.fs.beneath import directory_beneath, is_there, read_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = ".pipm/finder"
RECEIPT = "receipt.json"
STORED_METADATA = "metadata"
"""In `FOLDER`, of an environment without metadata folders: what they had besides what the store has."""
_FORMAT = 1


class ServedDistribution(NamedTuple):
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
    """The distributions that the finder serves in ``site`` from ``store``, by metadata folder."""

    store: str
    site: str
    served: Mapping[str, ServedDistribution]


def read_receipt(root: int) -> Receipt | None:
    """Read the receipt of the environment open as *root*; None where there is none that can be read."""
    data = read_beneath(root, f"{FOLDER}/{RECEIPT}")
    if data is None:
        return None
    try:
        document = json.loads(data)
        if document["version"] != _FORMAT:
            return None
        rows = [
            ServedDistribution(
                metadata, entry, record, tuple(bytecode), tuple((name, text) for name, text in dropped)
            )
            for metadata, entry, record, bytecode, dropped in document["folded"]
        ]
        store, site = document["store"], document["site"]
        plain = all(isinstance(text, str) for row in rows for text in (*row[:3], *row.bytecode))
        if not (plain and isinstance(store, str) and isinstance(site, str)):
            return None
        return Receipt(store, site, {row.metadata: row for row in rows})
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def has_finder(root: int) -> bool:
    """Whether the environment open as *root* has the finder, though a power cut may have torn its receipt."""
    with directory_beneath(root, FOLDER) as folder:
        return folder is not None and bool(os.listdir(folder))


class StoredMetadataFile(NamedTuple):
    """A file of a metadata folder that was put away: its mode, its bytes where they are not the store's."""

    mode: int
    data: bytes | None


def read_stored_metadata(root: int) -> dict[str, dict[str, StoredMetadataFile]]:
    """Return the metadata folders that were put away in the environment open as *root*, each with its files.

    What another user can change is not unmarshalled: of such an environment the receipt tells the folders.
    """
    if not is_there(root, f"{FOLDER}/{STORED_METADATA}"):
        return {}
    data = read_beneath(root, f"{FOLDER}/{STORED_METADATA}", ours=True)
    if data is None:
        receipt = read_receipt(root)
        return {} if receipt is None else {info: {} for info in receipt.served}
    try:
        document = marshal.loads(data)  # noqa: S302 - of the environment's own code, as its modules are
        away = {
            info: {name: StoredMetadataFile(*row) for name, row in files.items()}
            for info, files in document.items()
        }
    except (EOFError, ValueError, TypeError, AttributeError, MemoryError, SystemError):
        return {}
    return away if all(map(_is_sound, away, away.values())) else {}


def _is_sound(info: Any, files: Mapping[Any, StoredMetadataFile]) -> bool:  # noqa: ANN401 - what marshal can say
    return type(info) is str and all(
        type(name) is str and type(row.mode) is int and type(row.data) in (bytes, type(None))
        for name, row in files.items()
    )


def stored_metadata_bytes(away: Mapping[str, Mapping[str, StoredMetadataFile]]) -> bytes:
    """Write what `read_stored_metadata` reads; the finder reads it, too, in any version of Python."""
    return marshal.dumps(
        {info: {name: tuple(row) for name, row in files.items()} for info, files in away.items()}, 4
    )


def receipt_bytes(store: str, site: str, served: Iterable[ServedDistribution]) -> bytes:
    """Write what `read_receipt` reads."""
    document = {"version": _FORMAT, "store": store, "site": site, "folded": sorted(served)}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def record_digest(record: bytes) -> str:
    """How a receipt remembers a RECORD. Nobody gains by forging one, and sha256 takes eight times as long."""
    return f"{len(record)}-{zlib.crc32(record):08x}"


def is_record(record: bytes, digest: str) -> bool:
    """Return whether *digest*, out of a receipt, is that of *record*."""
    if "-" in digest:
        return record_digest(record) == digest
    import hashlib  # noqa: PLC0415 - a receipt of an earlier pipm

    return hashlib.sha256(record).hexdigest() == digest
