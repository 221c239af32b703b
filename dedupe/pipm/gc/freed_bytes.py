"""Counting the bytes that removing names frees: an inode with its last name, blocks with their last user."""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from pipm.context.statistics import Statistics
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import accounting, file_system_type, has_reflinks
from pipm.fs.opened import opened, opened_folder
from pipm.fs.reflinks import extents

if TYPE_CHECKING:
    from collections.abc import Iterable

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FreedBytes:
    """Adds up the bytes that are freed below *path*, which lies on one file system."""

    def __init__(self, path: str) -> None:
        kind = file_system_type(path)
        self._path = path
        self._reflinks = has_reflinks(kind)
        self._statistics = Statistics(accounting(kind))
        self._files: dict[int, tuple[str, os.stat_result]] = {}
        self._names: Counter[int] = Counter()
        self._rooms: Counter[str] = Counter()
        self._inodes: list[int] = []
        self.solid = 0
        """Bytes of `total` in blocks that only these files have: an exact figure."""

    def tree(self, path: str) -> None:
        """Count the folder *path* with all its content."""
        self._rooms[os.path.dirname(path)] += 1
        self._below(path)

    def _below(self, path: str) -> None:
        self._folder(path)
        with os.scandir(f"{self._path}/{path}") as scan:
            for entry in scan:
                below = f"{path}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    self._below(below)
                else:
                    self._name(below, entry.stat(follow_symlinks=False))
                    self._statistics.entries -= 1

    def files(self, paths: Iterable[str]) -> None:
        """Count single names."""
        for path in paths:
            self._name(path, os.lstat(f"{self._path}/{path}"))
            self._statistics.names -= 1
            self._rooms[os.path.dirname(path)] += 1

    def names_of(self, inode: int) -> int:
        """Return how many names of this inode are counted."""
        return self._names[inode]

    def total(self, staying: set[int]) -> int:
        """Return the bytes that become free while the store keeps the inodes *staying*."""
        if self._reflinks and self._files:
            self._count_pending()
        for inode, (path, status) in self._files.items():
            if status.st_nlink <= self._names[inode]:
                self._statistics.gone += 1
                self._statistics.freed += self._content(path, status)
                self._inodes.append(inode)
        self._files = {}
        self._empty_rooms()
        return self._statistics.balance + self._whole_chunks(staying)

    def _count_pending(self) -> None:
        """Let the file system write: btrfs knows which blocks are shared only after a commit."""
        with opened_folder(self._path) as folder:
            sync_file_system(folder)

    def _whole_chunks(self, staying: set[int]) -> int:
        """Return the bytes of inode chunks that become free.

        Only root can ask which inodes a chunk has. The store makes its inodes one after the other, so
        the best guess: if no inode of the store stays in a chunk, the chunk's other inodes were temporary.
        """
        account = self._statistics.accounting
        if not account.chunk:
            return 0
        whole = {inode // account.chunk for inode in self._inodes}
        whole -= {inode // account.chunk for inode in staying}
        return len(whole) * account.chunk * account.made

    def _empty_rooms(self) -> None:
        """Count folders that become empty, except those that the store always has."""
        while self._rooms:
            room = max(self._rooms, key=lambda path: path.count("/"))
            number = self._rooms.pop(room)
            if "/" in room and len(os.listdir(f"{self._path}/{room}")) == number:
                self._folder(room)
                self._rooms[os.path.dirname(room)] += 1

    def _folder(self, path: str) -> None:
        status = os.lstat(f"{self._path}/{path}")
        self._inodes.append(status.st_ino)
        self.solid += status.st_blocks * 512
        self._statistics.freed += status.st_blocks * 512
        self._statistics.gone += 1
        self._statistics.entries -= 1

    def _name(self, path: str, status: os.stat_result) -> None:
        self._names[status.st_ino] += 1
        self._files[status.st_ino] = (path, status)

    def _content(self, path: str, status: os.stat_result) -> int:
        account = self._statistics.accounting
        solid = account.solid(status.st_size, status.st_blocks)
        if not self._reflinks or not stat.S_ISREG(status.st_mode) or not status.st_blocks:
            self.solid += solid
            return account.data(status.st_size, status.st_blocks)
        with opened(os.open(f"{self._path}/{path}", _READ)) as file:
            found = extents(file)
        if not found or any(extent.inline for extent in found):
            self.solid += solid
            return account.data(status.st_size, status.st_blocks)
        mine = [extent for extent in found if not extent.shared]
        own = sum(extent.size for extent in mine)
        self.solid += sum(extent.stored or 0 for extent in mine)
        return own + (account.extent if own else account.reference)
