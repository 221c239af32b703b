"""Replacing files of an environment: a temporary name in the environment, then rename(2).

A reader sees the old file or the new one, never none. (jdupes, rdfind and fclones first rename the old file
away, and a crash then loses its name.) All temporary names are in one folder of the environment, which the
next run removes. So a crash leaves nothing among the packages.
"""

from __future__ import annotations

import contextlib
import os

from pipm.fs.copies import FileMetadata, PrivateCopies
from pipm.fs.folder_time import FolderTime, same_folder_time
from pipm.fs.leftovers import STAGING, sweep
from pipm.fs.link_modes import LinkMode, copy_into, place_file
from pipm.fs.reflinks import clone_into
from pipm.fs.xattrs import stop_inheritance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Staging:
    """A folder of temporary names on the environment's file system; each process has its own.

    Two processes that link and rename in the same folder would wait for each other.
    """

    def __init__(self, parent: int, name: str) -> None:
        """Make the folder *name* in the open folder *parent*."""
        os.mkdir(name, 0o700, dir_fd=parent)
        self.directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        self._copies = PrivateCopies(self.directory)
        self._count = 0
        self._times: dict[int, FolderTime] = {}

    def close(self) -> None:
        """Close the folder; `staging` removes it."""
        os.close(self.directory)

    @contextlib.contextmanager
    def keeping_time(self, directory: int) -> Iterator[None]:
        """Keep the time of the open *directory* although files are moved into it in the with block."""
        time = self._times[directory] = FolderTime(directory)
        try:
            yield
        finally:
            del self._times[directory]
            time.end()

    def name(self) -> str:
        """Return an unused name in the folder."""
        self._count += 1
        return str(self._count)

    def put(self, mode: LinkMode, store: int, source: str, target: int, name: str) -> None:
        """Replace *name* in directory *target* by *source* of directory *store*, atomically."""
        temporary = self.name()
        place_file(mode, store, source, self.directory, temporary)
        self.move(temporary, target, name)

    def link_over(self, store: int, source: str, target: int, name: str) -> None:
        """Replace *name* in directory *target* by a hard link to *source* of directory *store*."""
        self._count += 1
        temporary = str(self._count)
        os.link(source, temporary, src_dir_fd=store, dst_dir_fd=self.directory, follow_symlinks=False)
        self.move(temporary, target, name)

    def copy(self, source: int, mode: int, mtime_ns: int | None = None) -> str:
        """Copy the open file *source* to a temporary name; return the name."""
        temporary = self.name()
        copy_into(source, self.directory, temporary, mode)
        if mtime_ns is not None:
            os.utime(temporary, ns=(mtime_ns, mtime_ns), dir_fd=self.directory)
        return temporary

    def copy_privately(self, source: int, status: os.stat_result, wanted: FileMetadata) -> str:
        """Copy the open file *source* with all its metadata to a temporary name; return the name."""
        temporary = self.name()
        self._copies.make(source, status, temporary, wanted)
        return temporary

    def link_identical(self, source: int, mode: int, mtime_ns: int) -> str:
        """Reflink the open file *source* to a temporary name, or copy it if that fails; return the name."""
        temporary = self.name()
        try:
            clone_into(source, self.directory, temporary, mode)
        except OSError:
            copy_into(source, self.directory, temporary, mode)
        os.utime(temporary, ns=(mtime_ns, mtime_ns), dir_fd=self.directory)
        return temporary

    def move(self, temporary: str, target: int, name: str) -> None:
        """Rename *temporary* over *name* in directory *target*."""
        time = self._times.get(target)
        try:
            if time is not None:
                time.begin()
            os.rename(temporary, name, src_dir_fd=self.directory, dst_dir_fd=target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.directory)
            raise


@contextlib.contextmanager
def staging(environment: int) -> Iterator[int]:
    """Make the folder of temporary names in the open folder *environment*, and yield it open.

    The caller holds the environment's lock. Leftovers of a killed run are removed first, and the folder
    itself at the end. The environment's folder keeps its time.
    """
    sweep(environment)
    with same_folder_time(environment, STAGING):
        os.mkdir(STAGING, 0o700, dir_fd=environment)
    directory = os.open(STAGING, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=environment)
    try:
        stop_inheritance(directory)
        yield directory
    finally:
        os.close(directory)
        sweep(environment)


def replace_by_link(source: int, inode: int, name: str, environment: int, target: int, replaced: str) -> bool:
    """Replace *replaced* in directory *target* by a link to *name* in *source*, if that has *inode*.

    This needs neither a free block nor a free inode: no folder is made, the link has its name.
    """
    with same_folder_time(environment, STAGING), same_folder_time(target):
        os.link(name, STAGING, src_dir_fd=source, dst_dir_fd=environment, follow_symlinks=False)
        try:
            same = os.stat(STAGING, dir_fd=environment, follow_symlinks=False).st_ino == inode
            if same:
                os.rename(STAGING, replaced, src_dir_fd=environment, dst_dir_fd=target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(STAGING, dir_fd=environment)
    return same


def move_folder(parent: int, name: str, target: int) -> None:
    """Move the folder *name* of directory *parent* into directory *target*, where the name is free."""
    os.rename(name, name, src_dir_fd=parent, dst_dir_fd=target)
