"""What an environment whose modules come from the store by the finder tells of itself."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from dedupe.fs.beneath import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = ".pipm/finder"
RECEIPT = "receipt.json"
_FORMAT = 1


class Folded(NamedTuple):
    """A distribution that has no modules here: its metadata folder, its entry below the store's ``wheels/``.

    ``record`` is the sha256 of its RECORD: whoever installs it anew by other means writes another.
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


def receipt_bytes(store: str, site: str, folded: Iterable[Folded]) -> bytes:
    """Write what `read_receipt` reads."""
    document = {"version": _FORMAT, "store": store, "site": site, "folded": sorted(folded)}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def record_digest(record: bytes) -> str:
    """How a receipt remembers a RECORD."""
    return hashlib.sha256(record).hexdigest()
