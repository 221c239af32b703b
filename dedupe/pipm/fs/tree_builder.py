"""Building a tree of links in a private folder; the caller then renames the whole tree."""

from __future__ import annotations

import errno
import os

from pipm.fs.durability import Durability, write_durably
from pipm.fs.opened import opened
from pipm.fs.share_file import NewFile, bring_file

_BLOCK = 4096


class TreeBuilder:
    """An unfinished tree *name* in the open folder *parent*; paths are relative to the tree.

    ``inodes`` and ``names`` count the created ones; ``made_ns`` is the time (ns) of its creation.
    """

    def __init__(self, parent: int, name: str) -> None:
        self.parent = parent
        self.name = name
        self.inodes = self.names = 1
        self._folders: set[str] = set()
        self._empty: dict[tuple[int, int], str] = {}  # by mode and time: the path of an empty file
        self._written = 0
        os.mkdir(name, 0o700, dir_fd=parent)
        self.made_ns = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime_ns

    def new_file(self, path: str) -> NewFile:
        """Make the folders of the file *path*; return the place where the caller makes the file."""
        self.make_folders(path)
        return NewFile(self.parent, f"{self.name}/{path}")

    def replace(self, source: int, name: str, path: str) -> None:
        """Replace the file *path* by the file *name* in directory *source*; raises OSError.

        If its inode can have no more names, the file is copied.
        """
        aside = NewFile(self.parent, f"{self.name}.aside")
        bring_file(source, name, aside, link=True, copy=True)
        os.rename(aside.name, f"{self.name}/{path}", src_dir_fd=self.parent, dst_dir_fd=self.parent)

    def link(self, source: int, name: str, path: str) -> None:
        """Link the file *name* in directory *source* to *path*.

        If its inode can have no more names (ext4: 65 000), the file is copied.
        """
        self.make_folders(path)
        whole = f"{self.name}/{path}"
        try:
            os.link(name, whole, src_dir_fd=source, dst_dir_fd=self.parent, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            bring_file(source, name, NewFile(self.parent, whole), link=False, copy=True)
            self.inodes += 1
        self.names += 1

    def empty(self, path: str, mode: int, mtime_ns: int) -> None:
        """Make an empty file. One inode for the store would have too many names, so each tree has one."""
        first = self._empty.get((mode, mtime_ns))
        if first is not None:
            self.link(self.parent, first, path)
            return
        self.make_folders(path)
        whole = f"{self.name}/{path}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with opened(os.open(whole, flags, mode, dir_fd=self.parent)) as file:
            os.fchmod(file, mode)  # whatever the umask
            os.utime(file, ns=(mtime_ns, mtime_ns))
        self._empty[mode, mtime_ns] = whole
        self.inodes += 1
        self.names += 1

    def write(self, name: str, data: bytes) -> None:
        """Write a small file at the top of the tree."""
        with opened(
            os.open(self.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.parent)
        ) as folder:
            write_durably(folder, name, data, Durability.LATER)
        self.inodes += 1
        self.names += 1
        self._written += -(-len(data) // _BLOCK) * _BLOCK

    def blocks(self) -> int:
        """Return the bytes of the tree on disk: folders and written files; the other files are links."""
        paths = [self.name, *(f"{self.name}/{folder}" for folder in self._folders)]
        folders = sum(os.stat(path, dir_fd=self.parent).st_blocks * 512 for path in paths)
        return folders + self._written

    def symlink(self, target: str, path: str) -> None:
        """Make the symlink *path* to *target*."""
        self.make_folders(path)
        os.symlink(target, f"{self.name}/{path}", dir_fd=self.parent)
        self.inodes += 1
        self.names += 1

    def make_folders(self, path: str) -> None:
        """Make the folders of *path*, which ends with a file's name or with ``/``."""
        folder = path.rpartition("/")[0]
        if folder and folder not in self._folders:
            self.make_folders(folder)
            # Programs copy template folders with their mode. Other users cannot enter the store itself.
            os.mkdir(f"{self.name}/{folder}", 0o755, dir_fd=self.parent)
            self._folders.add(folder)
            self.inodes += 1
            self.names += 1
