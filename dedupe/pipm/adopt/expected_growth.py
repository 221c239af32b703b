"""An estimate of what the store takes besides the content of files: folders, trees of links, manifests."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from pipm.fs.beneath import directory_beneath
from pipm.fs.walk_tree import names_in
from pipm.store.layout import RESERVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.context.statistics import Statistics
    from pipm.core.disk_usage import Accounting
    from pipm.store.layout import Store

_BLOCK = 4096
_IN_INODE, _IN_ONE_BLOCK, _IN_EACH = 4, 56, 40
"""Names of objects in a folder's inode, in its first block, and in each of more: ext4 halves full blocks."""
_PARENTS = 4
"""The folders of an entry above its files: name, version, entry, site-packages."""
_ROW = 130
"""Bytes of one file in a manifest, and in the record of an environment's originals."""


class ExpectedGrowth:
    """The growth of *store*, or of one that is yet to be made."""

    def __init__(self, store: Store | None) -> None:
        self._reserve = RESERVE_SIZE if store is None else 0
        self._grown = 0
        self._names: Counter[str] = Counter()
        """The number of names in each folder of objects."""
        if store is not None:
            self._see("", store.objects)
            for interpreter in names_in(store.bytecode):
                with directory_beneath(store.bytecode, interpreter) as pool:
                    if pool is not None:
                        self._see("bytecode ", pool)

    def _see(self, kind: str, pool: int) -> None:
        for room in names_in(pool):
            with directory_beneath(pool, room) as folder:
                self._names[kind + room] += 0 if folder is None else len(os.listdir(folder))

    def count_object(self, name: str, statistics: Statistics) -> None:
        """Count a new object; its *name* begins with that of its folder."""
        self._count_name(name[:2], statistics)

    def count_bytecode(self, digest: str, statistics: Statistics) -> None:
        """Count new bytecode of the source with *digest*; several interpreters count as one."""
        self._count_name(f"bytecode {digest[:2]}", statistics)

    def _count_name(self, room: str, statistics: Statistics) -> None:
        before = self._names[room]
        self._names[room] += 1
        statistics.names += 1
        statistics.made += before == 0
        account = statistics.accounting
        self._grown += _folder_size(before + 1, account) - _folder_size(before, account)

    def take_grown(self) -> int:
        """Return the growth of the folders of objects and bytecode since the last call."""
        grown, self._grown = self._grown, 0
        return grown

    def count_entry(
        self, root: int, site: str, folders: Iterable[str], files: int, statistics: Statistics
    ) -> None:
        """Count a new entry: links to *files*, in copies of *folders* and of those between them and *site*.

        All are of the environment open as *root*.
        """
        least = _BLOCK if statistics.accounting.exact else 0
        copied = {folder for path in folders for folder in _down_to(path, site)}
        for folder in copied:
            with directory_beneath(root, folder) as opened:
                statistics.taken += least if opened is None else os.fstat(opened).st_blocks * 512
        rows = -(-files * _ROW // _BLOCK) * _BLOCK
        statistics.taken += _PARENTS * least + rows
        statistics.made += len(copied) + _PARENTS + 1
        statistics.entries += len(copied) + _PARENTS + 1 + files

    def count_environment(self, files: int, statistics: Statistics) -> None:
        """Count root and originals of an environment with *files*, and once the reserve of a new store."""
        statistics.taken += self._reserve + _BLOCK + -(-files * _ROW // 2 // _BLOCK) * _BLOCK
        statistics.made += 2
        self._reserve = 0


def _down_to(path: str, site: str) -> Iterator[str]:
    while path not in {"", site}:
        yield path
        path = path.rpartition("/")[0]


def _folder_size(names: int, account: Accounting) -> int:
    """Return the bytes of a folder of objects; on XFS small ones lie in inodes, on btrfs all in its trees."""
    if account.packed or names <= (0 if account.exact else _IN_INODE):
        return 0
    if names <= _IN_ONE_BLOCK:
        return _BLOCK
    return _BLOCK * (1 + -(-names // _IN_EACH))
