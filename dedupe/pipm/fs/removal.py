"""Removing files where some of them may refuse: everything else goes, and each refusal is named."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Stuck(NamedTuple):
    """A file or folder that could not be removed or moved, and the error's number.

    ``links`` are the names that its inode has, ``size`` the bytes of blocks that it takes.
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
        """Whether the file system had no block or inode for it."""
        return self.error in _NO_ROOM


def stuck_at(directory: int, name: str, path: str, error: OSError) -> Stuck:
    """Describe what failed with *name* in *directory*, whose absolute path is *path*.

    Raises *error* itself on a read-only file system: nothing else can be removed there either.
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
    """Remove the file *name* below *directory*, whose absolute path is *path*; returns it if it stays."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [stuck_at(directory, name, path, error)]
    return []


def remove_below(parent: int, name: str, path: str) -> list[Stuck]:
    """Remove the folder *name* of *parent* (at *path*) with all below it, following no symlink.

    Returns what stays: files that refuse. The folders above them stay, too; everything else goes.
    """
    stuck: list[Stuck] = []
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [stuck_at(parent, name, path, error)]
    try:
        with os.scandir(folder) as entries:
            below = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_folder in below:
            remove = remove_below if is_folder else remove_name
            stuck += remove(folder, child, f"{path}/{child}")
    except OSError as error:
        stuck.append(stuck_at(parent, name, path, error))
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


def remove_folder_at(path: str) -> list[Stuck]:
    """Remove the folder at the absolute *path* as `remove_below` does."""
    parent = os.open(os.path.dirname(path), _FOLDER)
    try:
        return remove_below(parent, os.path.basename(path), path)
    finally:
        os.close(parent)
