"""Listing the store: inodes, entries, bytecode, and their sizes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from pipm.fs.measure import KnownInodes, StoreUsageIndex, catalogue, places_of
from pipm.store.layout import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.store.layout import Store

_SITE = "site"
_DIGITS = 64


@dataclass(frozen=True, kw_only=True)
class StoreInventory:
    """The store's files by purpose. Sizes are in bytes.

    ``entries`` has the inodes of each entry, ``sites`` only those in site-packages. ``objects`` has the
    sha256 (hexadecimal) of each object's inode, ``bytecode`` the inodes of compiled sources by the source's
    sha256.
    """

    path: str
    listed: StoreUsageIndex
    entries: dict[str, frozenset[int]]
    sites: dict[str, frozenset[int]]
    objects: dict[int, str]
    bytecode: dict[str, tuple[int, ...]]

    @cached_property
    def stock(self) -> KnownInodes:
        """The store's inodes and extents, for comparison with those of an environment."""
        return KnownInodes(
            path=self.path,
            device=self.listed.device,
            inodes=self.listed.contents,
            find_places=self._places,
        )

    def bytes_of(self, inodes: Iterable[int]) -> int:
        """Return the bytes on disk of *inodes*."""
        return sum(self.listed.contents[inode].data for inode in inodes)

    def with_bytecode(self, inodes: Iterable[int]) -> set[int]:
        """Return *inodes* and the inodes of the bytecode of sources among them."""
        found = set(inodes)
        for inode in tuple(found):
            found.update(self.bytecode.get(self.objects.get(inode, ""), ()))
        return found

    def bytes_without(self, entries: Iterable[str]) -> int:
        """Return the bytes on disk of contents and bytecode that none of *entries* uses."""
        used = self.with_bytecode(
            {inode for entry in entries for inode in self.entries.get(entry, frozenset())}
        )
        return self.bytes_of({*self.objects, *chain.from_iterable(self.bytecode.values())} - used)

    @cached_property
    def _names(self) -> dict[int, str]:
        return {
            inode: f"{folder}/{name}"
            for folder, names in self.listed.folders.items()
            if folder.startswith("objects/")
            for name, inode in names
        }

    def object_path(self, inode: int) -> str:
        """Return the path of the object with this *inode*."""
        return f"{self.path}/{VERSION}/{self._names[inode]}"

    def _places(self) -> set[int]:
        return places_of(
            f"{self.path}/{VERSION}/{folder}/{name}"
            for folder, names in self.listed.folders.items()
            if folder.startswith(("objects/", "bytecode/"))
            for name, _ in names
        )


def store_inventory(store: Store) -> StoreInventory:
    """List *store* with one readdir for each folder and one stat for each inode."""
    listed = catalogue(f"{store.path}/{VERSION}")
    entries: defaultdict[str, set[int]] = defaultdict(set)
    sites: defaultdict[str, set[int]] = defaultdict(set)
    objects: dict[int, str] = {}
    bytecode: defaultdict[str, list[int]] = defaultdict(list)
    for folder, names in listed.folders.items():
        kind, _, rest = folder.partition("/")
        if kind == "wheels":
            parts = rest.split("/", 4)
            if len(parts) >= 3:
                entry = "/".join(parts[:3])
                inodes = [inode for _, inode in names]
                entries[entry].update(inodes)
                if parts[3:4] == [_SITE]:
                    sites[entry].update(inodes)
        elif kind == "objects" and rest:
            objects.update((inode, (rest + name)[:_DIGITS]) for name, inode in names)
        elif kind == "bytecode" and "/" in rest:
            prefix = rest.rpartition("/")[2]
            for name, inode in names:
                bytecode[(prefix + name)[:_DIGITS]].append(inode)
    return StoreInventory(
        path=store.path,
        listed=listed,
        entries={entry: frozenset(inodes) for entry, inodes in entries.items()},
        sites={entry: frozenset(inodes) for entry, inodes in sites.items()},
        objects=objects,
        bytecode={source: tuple(inodes) for source, inodes in bytecode.items()},
    )
