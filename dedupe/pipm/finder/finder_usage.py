"""The store's files that an environment uses only through its finder."""

from __future__ import annotations

import contextlib
import os

from pipm.env.receipt import receipt_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.store.inventory import StoreInventory


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
        homes = dict.fromkeys(row.layer or receipt.store for row in receipt.served.values())
        return next((store for store in homes if not os.path.isdir(f"{store}/v1")), "")
    for site in sites:
        with contextlib.suppress(OSError), os.scandir(f"{path}/{site}") as entries:
            # Every file of a distribution that was shared is a symlink: one of them is enough.
            first = next((entry.path for entry in entries if entry.name.endswith(".dist-info")), "")
            store, below, _ = os.readlink(f"{first}/METADATA").partition("/v1/wheels/")
            if below and not os.path.isdir(f"{store}/v1"):
                return store
    return ""
