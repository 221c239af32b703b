"""Layers: further stores, read-only, which are searched in order (``PIPM_STORE_LAYERS``).

A layer is the shared store of a cluster, for example, or a mounted image of `pipm store pack`. Needed files
are added to the user's own store: as hard links if the mount allows them, else as reflinks or copies. The
finder imports from the layer itself: it needs no files in the own store.
"""

from __future__ import annotations

import os
import stat
from functools import cache

from pipm.errors import StoreError
from pipm.fs.trust import foreign_part
from pipm.store.configuration import words
from pipm.store.entries import has_complete_entry
from pipm.store.layout import VERSION, Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOWHERE = -1
"""The descriptor for folders that a layer does not have: roots and temporary files."""


def open_layers(own: str) -> tuple[Store, ...]:
    """Open the layers that ``PIPM_STORE_LAYERS`` names, except the store at *own* itself.

    A missing layer (an unmounted disk) is skipped. Raises StoreError for a folder that is not a store.
    """
    paths = [os.path.realpath(os.path.expanduser(path)) for path in words("layers")]
    return tuple(_opened(path) for path in dict.fromkeys(paths) if path != own and os.path.isdir(path))


@cache
def _opened(path: str) -> Store:
    try:
        v1 = os.open(f"{path}/{VERSION}", _DIRECTORY)
        objects = os.open("objects", _DIRECTORY, dir_fd=v1)
        bytecode = os.open("bytecode", _DIRECTORY, dir_fd=v1)
        folders = (v1, objects, bytecode, f"{path}/{VERSION}/wheels")
        modes = [os.stat(folder).st_mode for folder in folders]
    except OSError as error:
        raise StoreError(
            f"The layer {path} is not a store that pipm can read: {os.strerror(error.errno or 0)}",
            hint="mount it there, or unset PIPM_STORE_LAYERS",
        ) from error
    if any(mode & stat.S_IWOTH for mode in modes):
        raise StoreError(
            f"All users can write to the layer {path}: pipm does not trust it",
            hint="its owner can run chmod -R o-w on it; or unset PIPM_STORE_LAYERS",
        )
    return Store(path=path, v1=v1, objects=objects, bytecode=bytecode, roots=_NOWHERE, tmp=_NOWHERE)


def home_of(store: Store, entry: str) -> Store:
    """Return the store of the complete *entry*: *store*, else the first layer with it, else *store*."""
    layers = open_layers(store.path)
    if layers and not has_complete_entry(store, entry):
        return next((layer for layer in layers if has_complete_entry(layer, entry)), store)
    return store


def is_served_in_place(layer: Store, entry: str) -> bool:
    """Return whether environments may import *entry* from *layer*; root's must not if others can write it."""
    return os.geteuid() != 0 or foreign_part(f"{layer.path}/{VERSION}/wheels/{entry}") is None


def layered_object(layer: Store, name: str) -> os.stat_result | None:
    """Look up the object *name* in *layer*. The user who configured the layer trusts its owner."""
    from pipm.store.objects import find_object  # noqa: PLC0415 - only syncs that make files need it

    status = find_object(layer.objects, name)
    return status if status is not None and stat.S_ISREG(status.st_mode) else None
