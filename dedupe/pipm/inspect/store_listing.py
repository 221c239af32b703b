"""`pipm store ls`: the store's entries."""

from __future__ import annotations

from pipm.store.entries import all_entries, load_manifest
from pipm.store.layout import open_store


def store_entries(store_path: str, name: str | None) -> list[tuple[str, int, int]]:
    """List the store's entries as (path below ``wheels/``, files, bytes), all or of one distribution."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - only where a name is given

    store = open_store(store_path, create=False)
    if store is None:
        return []
    wanted = None if name is None else f"{canonicalize_name(name)}/"
    found = []
    for entry in all_entries(store):
        if wanted is None or entry.startswith(wanted):
            files = load_manifest(store, entry).files
            found.append((entry, len(files), sum(file.size for file in files)))
    return found
