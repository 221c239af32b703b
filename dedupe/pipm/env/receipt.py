"""The receipt of a finder environment: the distributions that the finder serves."""

from __future__ import annotations

import marshal
import os
import zlib

from pipm.core.named_tuple import NamedTuple
from pipm.fs.beneath import directory_beneath, is_there, read_beneath
from pipm.fs.cache_files import parsed_json
from pipm.fs.opened import opened_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

FOLDER = ".pipm/finder"
RECEIPT = "receipt.json"
STORED_METADATA = "metadata"
"""A file in `FOLDER` of an environment without metadata folders; it has their files that the store lacks."""
_FORMAT = 1


class ServedDistribution(NamedTuple):
    """A served distribution: its metadata folder, and its entry below the store's ``wheels/``.

    ``record`` is its RECORD's `record_digest`, which changes when another installer installs it again.
    ``bytecode`` names its former compiled modules, relative to site-packages; ``dropped`` are removed path
    files with their text. ``layer`` is the path of the layer that has the entry; "" for the store.
    """

    metadata: str
    entry: str
    record: str
    bytecode: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    layer: str = ""


class Receipt(NamedTuple):
    """The distributions that the finder serves in ``site`` from ``store``, by metadata folder."""

    store: str
    site: str
    served: Mapping[str, ServedDistribution]


def read_receipt(root: int) -> Receipt | None:
    """Read the receipt of the environment open as *root*; None if there is none, or it is damaged."""
    data = read_beneath(root, f"{FOLDER}/{RECEIPT}")
    if data is None:
        return None
    try:
        document = parsed_json("receipt", data)
        if document["version"] != _FORMAT:
            return None
        rows = [
            ServedDistribution(
                metadata,
                entry,
                record,
                tuple(bytecode),
                tuple((name, text) for name, text in dropped),
                *layer,
            )
            for metadata, entry, record, bytecode, dropped, *layer in document["folded"]
        ]
        store, site = document["store"], document["site"]
        plain = all(isinstance(text, str) for row in rows for text in (*row[:3], *row.bytecode, row.layer))
        if not (plain and isinstance(store, str) and isinstance(site, str)):
            return None
        return Receipt(store, site, {row.metadata: row for row in rows})
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def receipt_at(path: str) -> Receipt | None:
    """Return the receipt of the finder in the environment at *path*; None if it has no finder."""
    try:
        with opened_folder(path) as root:
            return read_receipt(root)
    except OSError:
        return None


def has_finder(root: int) -> bool:
    """Return whether the environment open as *root* has the finder, even with a damaged receipt."""
    with directory_beneath(root, FOLDER) as folder:
        return folder is not None and bool(os.listdir(folder))


class StoredMetadataFile(NamedTuple):
    """A stored metadata file: its mode, and its bytes; None if they are in the store."""

    mode: int
    data: bytes | None


def read_stored_metadata(root: int) -> dict[str, dict[str, StoredMetadataFile]]:
    """Return the stored metadata folders of the environment open as *root*, each with its files.

    If another user can change the file, it is not read; then the folders are those in the receipt, without
    files.
    """
    if not is_there(root, f"{FOLDER}/{STORED_METADATA}"):
        return {}
    data = read_beneath(root, f"{FOLDER}/{STORED_METADATA}", ours=True)
    if data is None:
        receipt = read_receipt(root)
        return {} if receipt is None else {info: {} for info in receipt.served}
    try:
        document = marshal.loads(data)  # noqa: S302 - no other user can change it
        away = {
            info: {name: StoredMetadataFile(*row) for name, row in files.items()}
            for info, files in document.items()
        }
    except (EOFError, ValueError, TypeError, AttributeError, MemoryError, SystemError):
        return {}
    return away if all(map(_is_sound, away, away.values())) else {}


def _is_sound(info: Any, files: Mapping[Any, StoredMetadataFile]) -> bool:  # noqa: ANN401 - any value that marshal knows
    return type(info) is str and all(
        type(name) is str and type(row.mode) is int and type(row.data) in (bytes, type(None))
        for name, row in files.items()
    )


def stored_metadata_bytes(away: Mapping[str, Mapping[str, StoredMetadataFile]]) -> bytes:
    """Serialise for `read_stored_metadata`, and for the finder in any version of Python."""
    return marshal.dumps(
        {info: {name: tuple(row) for name, row in files.items()} for info, files in away.items()}, 4
    )


def receipt_bytes(store: str, site: str, served: Iterable[ServedDistribution]) -> bytes:
    """Serialise for `read_receipt`."""
    import json  # noqa: PLC0415 - only a sync of finder environments writes one

    rows = [row if row.layer else row[:-1] for row in sorted(served)]  # an earlier pipm knows no layers
    document = {"version": _FORMAT, "store": store, "site": site, "folded": rows}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def record_digest(record: bytes) -> str:
    """Return the digest of a RECORD for receipts; CRC-32 is faster than sha256, and forging it is useless."""
    return f"{len(record)}-{zlib.crc32(record):08x}"


def is_record(record: bytes, digest: str) -> bool:
    """Return whether *digest*, from a receipt, is the digest of *record*."""
    if "-" in digest:
        return record_digest(record) == digest
    import hashlib  # noqa: PLC0415 - only receipts of an earlier pipm need it

    return hashlib.sha256(record).hexdigest() == digest
