"""Folders of an environment: each is opened relative to the folder above it; missing ones are made."""

from __future__ import annotations

import contextlib
import errno
import os

from pipm.errors import FileSystemError

State = tuple[int, int, int]
"""The state of a folder: the time of its last change (ctime, ns), its inode, its size."""
FolderState = dict[str, State]
"""The states of folders when the work in them ended, by path."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def state_of(folder: int) -> State:
    """Return the state of the open *folder*."""
    return _state(os.fstat(folder))


def state_in(parent: int, name: str) -> State:
    """Return the state of the folder *name* of the open folder *parent*."""
    return _state(os.stat(name, dir_fd=parent, follow_symlinks=False))


def _state(status: os.stat_result) -> State:
    return (status.st_ctime_ns, status.st_ino, status.st_size)


def make_folder(parent: int, name: str) -> int:
    """Open the folder *name* in folder *parent*; make it if it is missing; follow no symlink."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise not_a_folder(name) from error


def not_a_folder(name: str) -> FileSystemError:
    """Return the error for *name* in an environment, which is not a folder as in a distribution."""
    return FileSystemError(
        f"{name!r} in the environment is not a folder, but a distribution has one of that name",
        hint="move it away and run the same command again",
    )


class FolderStack:
    """The current folder and the folders above it, all open; missing ones are made.

    Each is opened relative to the folder above it and never through a symlink, so no file gets outside of the
    environment. If paths come sorted by their parts, each folder is opened once. ``left`` has the state of
    each folder when the work in it ended.
    """

    def __init__(self, root: int) -> None:
        self._folders: list[tuple[str, int]] = [("", root)]
        self.left: FolderState = {}

    def enter(self, path: str) -> int:
        """Return the open folder *path* below the root; it stays open until another one is entered."""
        folders = self._folders
        while len(folders) > 1 and path != folders[-1][0] and not path.startswith(f"{folders[-1][0]}/"):
            self._leave()
        known, folder = folders[-1]
        rest = path[len(known) :].strip("/")
        for name in rest.split("/") if rest else ():
            folder = make_folder(folder, name)
            known = f"{known}/{name}" if known else name
            folders.append((known, folder))
        return folder

    def close(self) -> None:
        """Close all but the root."""
        while len(self._folders) > 1:
            self._leave()

    def _leave(self) -> None:
        path, folder = self._folders.pop()
        self.left[path] = state_of(folder)
        os.close(folder)
