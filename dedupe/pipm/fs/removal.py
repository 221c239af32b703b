"""Removing files: if some cannot be removed, all others are, and each failure is reported."""

from __future__ import annotations

import contextlib
import errno
import os

from pipm.core.named_tuple import NamedTuple
from pipm.fs.opened import opened, opened_folder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 100
"""Levels of folders that are open at once: a process may have 1 024 open files and 1 000 nested calls."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Stuck(NamedTuple):
    """A file or folder that could not be removed or moved, and the error's number.

    ``links`` is the number of names of its inode, ``size`` the bytes of its blocks.
    """

    path: str
    error: int
    inode: int = 0
    links: int = 0
    size: int = 0

    @property
    def reason(self) -> str:
        """The error in words."""
        return os.strerror(self.error)

    @property
    def lacks_room(self) -> bool:
        """Return whether the file system had no block or inode left."""
        return self.error in _NO_ROOM


def stuck_at(directory: int, name: str, path: str, error: OSError) -> Stuck:
    """Describe the *error* for *name* in *directory*; *path* is its absolute path.

    Raises *error* itself on a read-only file system, where no other file can be removed either.
    """
    if error.errno == errno.EROFS:
        raise error
    number = error.errno or errno.EIO
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return Stuck(path, number)
    return Stuck(path, number, status.st_ino, status.st_nlink, status.st_blocks * 512)


def remove_name(directory: int, name: str, path: str) -> list[Stuck]:
    """Remove the file *name* below *directory*, whose absolute path is *path*; return it if it stays."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [stuck_at(directory, name, path, error)]
    return []


def remove_below(
    parent: int, name: str, path: str, *, top: int | None = None, levels: int = _DEEPEST
) -> list[Stuck]:
    """Remove the folder *name* of *parent* (at *path*) and everything below it; follow no symlink.

    Returns the files that could not be removed. The folders that contain them stay, too.
    """
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [stuck_at(parent, name, path, error)]
    try:
        stuck = _clear(folder, path, top, levels)
    except OSError as error:
        stuck = [stuck_at(parent, name, path, error)]
    finally:
        os.close(folder)
    if not stuck:
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            stuck.append(stuck_at(parent, name, path, error))
    return stuck


def _clear(folder: int, path: str, top: int | None = None, levels: int = _DEEPEST) -> list[Stuck]:
    """Empty the open *folder*; folders more than *levels* deep move up to *top* (None: to this one)."""
    stuck: list[Stuck] = []
    done: set[str] = set()
    while True:
        with os.scandir(folder) as entries:
            below = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for name in sorted(below.keys() - done):
            if not below[name]:
                stuck += remove_name(folder, name, f"{path}/{name}")
            elif levels:
                above = folder if top is None else top
                stuck += remove_below(folder, name, f"{path}/{name}", top=above, levels=levels - 1)
            else:
                os.rename(name, f"deep-{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
        if top is not None or not below.keys() - done:
            return stuck
        done |= below.keys()


def remove_tree(parent: int, name: str) -> None:
    """Remove the folder *name* of directory *parent* as `remove_below` does; raise OSError if it stays."""
    _raise_first(remove_below(parent, name, name))


def remove_folder(path: str) -> None:
    """Remove the folder at *path*, if it exists, and everything below it; raise OSError if it stays."""
    _raise_first(remove_folder_at(path))


def clear_folder(path: str) -> None:
    """Remove everything in the directory at *path*; follow no symlink."""
    with opened(os.open(path, _FOLDER)) as directory:
        _raise_first(_clear(directory, path))


def _raise_first(stuck: list[Stuck]) -> None:
    for one in stuck:
        raise OSError(one.error, one.reason, one.path)


def remove_path(path: str) -> list[Stuck]:
    """Remove the file at the absolute *path* as `remove_name` does."""
    with opened_folder(os.path.dirname(path)) as parent:
        return remove_name(parent, os.path.basename(path), path)


def remove_folder_at(path: str) -> list[Stuck]:
    """Remove the folder at the absolute *path* as `remove_below` does."""
    with opened_folder(os.path.dirname(path)) as parent:
        return remove_below(parent, os.path.basename(path), path)


def move_aside(path: str) -> str:
    """Rename the folder at the absolute *path* to a hidden name beside it; return the new path."""
    parent, name = os.path.split(path)
    aside = f"{parent}/.{name}.removed-{os.urandom(4).hex()}"
    os.rename(path, aside)
    return aside


def remove_empty(path: str) -> None:
    """Remove the folder at *path* if it is empty and no mount point."""
    with contextlib.suppress(OSError):
        os.rmdir(path)


def remove_empty_below(path: str, depth: int) -> int:
    """Remove the empty folders up to *depth* levels below *path*; return how many were removed."""
    with os.scandir(path) as entries:
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    removed = 0
    for folder in below:
        if depth > 1:
            removed += remove_empty_below(folder, depth - 1)
        with contextlib.suppress(OSError):  # it is not empty
            os.rmdir(folder)
            removed += 1
    return removed
