"""Measuring bytes on disk: each inode and each extent is counted once.

Hard links are recognised by inode numbers, reflinks by FIEMAP. Files of the store need no second stat:
readdir(3) gives the inode, and the list of the store's inodes has the size.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.disk_usage import DiskUsage
from pipm.fs.compression import compresses
from pipm.fs.free_space import accounting, file_system_type, has_reflinks
from pipm.fs.reflinks import Extent, extents

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pipm.core.disk_usage import Accounting


class ContentSize(NamedTuple):
    """An inode's size, and the bytes that its content takes."""

    size: int
    data: int


@dataclass(frozen=True, kw_only=True)
class KnownInodes:
    """The store's inodes on one device; an environment's files with these inodes are shared.

    ``places`` (of extents, in bytes on the device) are looked up at the first use.
    """

    path: str
    device: int
    inodes: dict[int, ContentSize]
    find_places: Callable[[], Collection[int]] = frozenset

    @cached_property
    def places(self) -> Collection[int]:
        """The places on the device where the store's extents begin."""
        return self.find_places()


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeUsage:
    """The disk usage of a tree.

    ``stored`` are the bytes that it shares with the store. ``outside`` are the bytes that it shares only with
    other trees; its key is the kind (``i`` inode, ``e`` extent), the device and the number.
    """

    usage: DiskUsage
    stored: int
    outside: dict[tuple[str, int, int], int]


@dataclass(slots=True)
class _Inode:
    """An inode: its links, the links in this tree, and the bytes that removing the last link frees.

    ``solid`` of these bytes are blocks; the others are in the trees of the file system.
    """

    links: int
    here: int
    own: int
    solid: int


@dataclass(slots=True)
class _TreeMeasurer:
    """Measures a tree: one readdir for each folder, one stat for each file that the store does not have."""

    account: Accounting
    reflinks: bool
    stock: KnownInodes | None
    apparent: int = 0
    files: int = 0
    own: int = 0
    solid: int = 0
    borrowed: set[int] = field(default_factory=set)
    inodes: dict[tuple[int, int], _Inode] = field(default_factory=dict)
    extents: dict[tuple[int, int], int] = field(default_factory=dict)

    def folder(self, path: str) -> list[str]:
        """Count the files in the folder *path*; return its folders."""
        below: list[str] = []
        try:
            status = os.lstat(path)
            with os.scandir(path) as scan:
                entries = list(scan)
        except OSError:
            return below
        account = self.account
        self.own += status.st_blocks * 512 + account.whole + account.entry
        self.solid += status.st_blocks * 512
        known = self.stock.inodes if self.stock and self.stock.device == status.st_dev else {}
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
                continue
            self.files += 1
            self.own += account.entry_of(len(entry.name))
            inode = entry.inode()
            content = known.get(inode)
            if content is None:
                self._file(entry)
            else:
                self.apparent += content.size
                self.borrowed.add(inode)
        return below

    def _file(self, entry: os.DirEntry[str]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # another process removed it
            return
        key = (status.st_dev, status.st_ino)
        known = self.inodes.get(key)
        if known is not None:
            self.apparent += status.st_size
            known.here += 1
            return
        own = self.account.data(status.st_size, status.st_blocks) + self.account.whole
        solid = self.account.solid(status.st_size, status.st_blocks)
        if stat.S_ISLNK(status.st_mode):
            self._symlink(entry.path, status)
        else:
            self.apparent += status.st_size
            is_file = stat.S_ISREG(status.st_mode)
            if is_file and status.st_size > self.account.inline and status.st_blocks:
                tree, elsewhere, unsure = self._extents(entry.path, status.st_dev)
                own += tree - elsewhere
                solid -= elsewhere + unsure
        self.inodes[key] = _Inode(status.st_nlink, 1, max(own, 0), max(solid, 0))

    def _symlink(self, path: str, status: os.stat_result) -> None:
        """Count a symlink into the store as the stored file."""
        try:
            inside = self.stock is not None and os.readlink(path).startswith(f"{self.stock.path}/")
            target = os.stat(path) if inside else status
        except OSError:  # another process removed it, or the store lost it
            return
        self.apparent += target.st_size
        if inside:
            self.borrowed.add(target.st_ino)

    def _extents(self, path: str, device: int) -> tuple[int, int, int]:
        """Record the extents that other files share.

        Returns the bytes that the file needs in the file system's trees, the bytes that sharing and
        compression save, and the bytes that compression may save (only root can read how many).
        """
        if not self.reflinks:
            return self.account.extent, 0, 0
        found = file_extents(path)
        shared = [extent for extent in found if extent.shared]
        for extent in shared:
            self.extents[device, extent.physical] = extent.size
        saved, unsure = _compression([extent for extent in found if not extent.shared])
        if not shared:
            return self.account.extent, saved, unsure
        elsewhere = sum(extent.length for extent in shared)
        return len(shared) * self.account.reference, elsewhere + saved, unsure

    def add_served(self, inodes: Iterable[int]) -> None:
        """Count stored files that the tree uses by the finder, without links to them."""
        for inode in inodes:
            content = self._content(inode)
            if content is not None and inode not in self.borrowed:
                self.apparent += content.size
                self.borrowed.add(inode)

    def measure(self) -> TreeUsage:
        """Return the usage of the whole tree."""
        stored = sum(content.data for content in map(self._content, self.borrowed) if content is not None)
        outside: dict[tuple[str, int, int], int] = {}
        own = self.own
        solid = self.solid
        for (device, number), inode in self.inodes.items():
            if inode.here >= inode.links:
                own += inode.own
                solid += inode.solid
            else:
                outside["i", device, number] = inode.own
        for (device, place), length in self.extents.items():
            if self.stock is not None and place in self.stock.places:
                stored += length
            else:
                outside["e", device, place] = length
        usage = DiskUsage(
            apparent=self.apparent,
            on_disk=own + stored + sum(outside.values()),
            exclusive=own,
            files=self.files,
            estimated=own - solid if self.account.packed else 0,
        )
        return TreeUsage(usage=usage, stored=stored, outside=outside)

    def _content(self, inode: int) -> ContentSize | None:
        return None if self.stock is None else self.stock.inodes.get(inode)


def measure_tree(path: str, stock: KnownInodes | None = None, served: Iterable[int] = ()) -> TreeUsage:
    """Measure the tree at *path*, its folders included; reads no content, follows no symlink.

    *served* are the inodes of *stock* that the tree uses by the finder, without links to them.
    """
    kind = _file_system(os.stat(path).st_dev, path)
    walker = _TreeMeasurer(accounting(kind), has_reflinks(kind), stock)
    folders = [path]
    while folders:
        folders += walker.folder(folders.pop())
    walker.add_served(served)
    return walker.measure()


_kinds: dict[int, str] = {}
"""The type of each device's file system; a thousand environments are on few of them."""


def _file_system(device: int, path: str) -> str:
    if device not in _kinds:
        _kinds[device] = file_system_type(path)
    return _kinds[device]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUsageIndex:
    """The disk usage of a store and the size of each inode in it.

    ``folders`` has the names and inodes of the files of each folder; paths are relative to the tree.
    """

    usage: DiskUsage
    device: int
    contents: dict[int, ContentSize]
    folders: dict[str, list[tuple[str, int]]]


def catalogue(path: str) -> StoreUsageIndex:
    """List and measure the tree at *path*, with one stat for each inode."""
    device = os.stat(path).st_dev
    account = accounting(_file_system(device, path))
    contents: dict[int, ContentSize] = {}
    folders: dict[str, list[tuple[str, int]]] = {}
    apparent = files = own = solid = 0
    packs = compresses(path)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        names = folders[folder] = []
        prefix = f"{folder}/" if folder else ""
        try:
            blocks = os.lstat(f"{path}/{folder}").st_blocks * 512
            own += blocks + account.whole + account.entry
            solid += blocks
            with os.scandir(f"{path}/{folder}") as scan:
                entries = list(scan)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(prefix + entry.name)
                continue
            inode = entry.inode()
            content = contents.get(inode)
            if content is None:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # another process removed it
                    continue
                saved, unsure = _compression(file_extents(entry.path)) if packs else (0, 0)
                content = contents[inode] = _content(status, account, saved)
                own += content.data
                solid += max(account.solid(status.st_size, status.st_blocks) - saved - unsure, 0)
                apparent += content.size
            files += 1
            own += account.entry_of(len(entry.name))
            names.append((entry.name, inode))
    estimated = own - solid if account.packed else 0
    usage = DiskUsage(apparent=apparent, on_disk=own, exclusive=own, files=files, estimated=estimated)
    return StoreUsageIndex(usage=usage, device=device, contents=contents, folders=folders)


def _content(status: os.stat_result, account: Accounting, saved: int) -> ContentSize:
    """Measure an inode; *saved* are the bytes that compression saves."""
    extent = account.extent if status.st_size > account.inline else 0
    data = account.data(status.st_size, status.st_blocks) + account.whole + extent
    return ContentSize(status.st_size, max(data - saved, 0))


def _compression(found: Iterable[Extent]) -> tuple[int, int]:
    """Return the bytes that compression saves in the extents, and the length of those of unknown size."""
    saved = unsure = 0
    for extent in found:
        saved += 0 if extent.inline else extent.length - extent.size
        unsure += extent.length if extent.stored is None else 0
    return saved, unsure


def places_of(paths: Iterable[str]) -> set[int]:
    """Return the places on the device (in bytes) where the extents of the files *paths* begin."""
    return {extent.physical for path in paths for extent in file_extents(path) if not extent.inline}


def file_extents(path: str) -> list[Extent]:
    """List the extents of the file at *path*; [] if it cannot be opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return extents(file)
    finally:
        os.close(file)


def own_bytes(path: str) -> int:
    """Return the bytes of blocks that only the file at *path* uses; deduplicating it frees them."""
    return sum(extent.size for extent in file_extents(path) if not extent.shared and not extent.inline)


def shares_extents(path: str) -> bool:
    """Return whether the file at *path* shares blocks with another one; False if it cannot be opened."""
    return any(extent.shared for extent in file_extents(path))


def block_sizes(path: str) -> dict[int, int]:
    """Return the bytes of blocks of each inode below *path*, with its folders and itself."""
    sizes = {os.lstat(path).st_ino: os.lstat(path).st_blocks * 512}
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as scan:
            for entry in scan:
                status = entry.stat(follow_symlinks=False)
                sizes[status.st_ino] = status.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return sizes
