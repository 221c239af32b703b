"""Prune: remove packs that no index of a remote needs, after some days.

A push or a pull at the same time loses nothing. A pack stays if a signer's index names it, or named it in
the last `GRACE_DAYS` days (a pull may have read that index), or if it is younger (its push may not have
written its index yet). A push uses a pack that no index names only in the day after it was written; it
writes an older one again with another name. So no index can name a pack that prune is removing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import RemoteError
from pipm.remote.keys import unsigned
from pipm.remote.remote_values import GRACE_DAYS
from pipm.remote.signed_index import INDEXES, unpacked_index

if TYPE_CHECKING:
    from pipm.remote.transport import Transport

_PACKS = "v1/packs/"


class Pruned(NamedTuple):
    """The number of removed packs, and their bytes."""

    packs: int
    size: int


def remove_unused(transport: Transport) -> Pruned:
    """Remove packs that no index needs; raise RemoteError if any signer's index cannot be read.

    The caller has just written its own index.
    """
    files = transport.stored()
    # The remote's clock counts; one file with a time in the future does not make all others old.
    now = min(time.time(), max((file.modified for file in files), default=0))
    needed: set[str] = set()
    for file in files:
        if file.name.startswith(INDEXES) and "." not in file.name:
            needed.update(*(_packs(data, file.name) for data in transport.read(file.name)[0]))
    old = [
        file
        for file in files
        if file.name.startswith(_PACKS)
        and file.name.rpartition("/")[2] not in needed
        and now - file.modified > GRACE_DAYS * 24 * 3600
    ]
    transport.remove([file.name for file in old])
    return Pruned(len(old), sum(file.size for file in old))


def _packs(data: bytes, name: str) -> set[str]:
    """Return the packs of an index, even with a wrong signature, because it can only keep packs."""
    try:
        return set(unpacked_index(unsigned(data)).packs)
    except RemoteError as error:
        raise RemoteError(
            f"Nothing was removed: the remote's {name} cannot be read and may need the packs",
            hint="remove that index if nobody uses it",
        ) from error
