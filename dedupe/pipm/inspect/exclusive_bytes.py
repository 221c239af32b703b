"""The bytes that deleting one environment frees."""

from __future__ import annotations

from pipm.finder.finder_usage import served_inodes
from pipm.fs.measure import measure_tree
from pipm.store.inventory import store_inventory
from pipm.store.layout import open_store


def exclusive_bytes(store_path: str, path: str) -> int:
    """Return the bytes that deleting the environment at *path* frees, if the store keeps its files."""
    store = open_store(store_path, create=False)
    inventory = None if store is None else store_inventory(store)
    stock = None if inventory is None else inventory.stock
    return measure_tree(path, stock, served_inodes(path, inventory)).usage.exclusive
