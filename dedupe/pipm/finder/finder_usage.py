"""What an environment uses of the store without having files of its own: what its finder serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.env.receipt import read_receipt

if TYPE_CHECKING:
    from pipm.env.receipt import Receipt
    from pipm.store.inventory import StoreInventory


def receipt_at(path: str) -> Receipt | None:
    """What the finder serves in the environment at *path*; None where it has none."""
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_receipt(root)
    finally:
        os.close(root)


def served_inodes(path: str, inventory: StoreInventory | None) -> set[int]:
    """The store's inodes that the environment at *path* imports from, bytecode included."""
    receipt = None if inventory is None else receipt_at(path)
    if inventory is None or receipt is None or receipt.store != inventory.path:
        return set()
    found: set[int] = set()
    for served in receipt.served.values():
        found |= inventory.sites.get(served.entry, frozenset())
    return inventory.with_bytecode(found)
