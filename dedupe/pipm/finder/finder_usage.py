"""The store's files that an environment uses only through its finder."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pipm.env.receipt import read_receipt
from pipm.fs.opened import opened_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.env.receipt import Receipt
    from pipm.store.inventory import StoreInventory


def receipt_at(path: str) -> Receipt | None:
    """Return the receipt of the finder in the environment at *path*; None if it has no finder."""
    try:
        with opened_folder(path) as root:
            return read_receipt(root)
    except OSError:
        return None


def served_inodes(path: str, inventory: StoreInventory | None) -> set[int]:
    """Return the store's inodes that the environment at *path* imports from, including bytecode."""
    receipt = None if inventory is None else receipt_at(path)
    if inventory is None or receipt is None or receipt.store != inventory.path:
        return set()
    found: set[int] = set()
    for served in receipt.served.values():
        found |= inventory.sites.get(served.entry, frozenset())
    return inventory.with_bytecode(found)


def missing_store(path: str, sites: Iterable[str]) -> str:
    """Return the missing store whose files the environment at *path* reads (finder, symlinks), or ""."""
    receipt = receipt_at(path)
    if receipt is not None:
        return "" if os.path.isdir(f"{receipt.store}/v1") else receipt.store
    for site in sites:
        with contextlib.suppress(OSError), os.scandir(f"{path}/{site}") as entries:
            # Every file of a distribution that was shared is a symlink: one of them is enough.
            first = next((entry.path for entry in entries if entry.name.endswith(".dist-info")), "")
            store, below, _ = os.readlink(f"{first}/METADATA").partition("/v1/wheels/")
            if below and not os.path.isdir(f"{store}/v1"):
                return store
    return ""
