"""Files of other programs in folders that a sync replaced: they go back into the environment.

If the current folder of a program is replaced, the program still writes into the old folder. That is in TREE,
in the folder of temporary names, at its path in the environment. The file NOTE lists the files that may be
removed: if this run is killed, the next run moves all others back.
"""

from __future__ import annotations

import contextlib
import os
import zlib

from pipm.errors import FileSystemError
from pipm.fs.beneath import is_there, read_beneath
from pipm.fs.folder_stack import FOLDER, FolderStack
from pipm.fs.opened import created, opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TREE = "new"
"""The folder in which a sync makes its files; the replaced files are moved into it."""
NOTE = "own"
"""The file beside TREE with the paths that may be removed."""
DEEPEST = 100
"""Folders are replaced as a whole only above this depth."""
CACHE = "__pycache__"
_CHECKSUM = 4


class OwnPaths:
    """The paths of distributions' files in an environment, and of the bytecode of their modules."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._folders: set[str] = set()
        for file in self._paths:
            folder = file.rpartition("/")[0]
            while folder and folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition("/")[0]

    def has_folder(self, path: str) -> bool:
        """Return whether the folder *path* contains such files, or their bytecode."""
        above, _, last = path.rpartition("/")
        return (above if last == CACHE else path) in self._folders

    def has_file(self, path: str) -> bool:
        """Return whether *path* is one of these files, or the bytecode of one."""
        folder, _, name = path.rpartition("/")
        above, _, last = folder.rpartition("/")
        module = f"{above}/{name.partition('.')[0]}.py"
        return path in self._paths or (last == CACHE and name.endswith(".pyc") and module in self._paths)


def note_own(staging: int, paths: Iterable[str]) -> None:
    """Write the *paths* of the environment that may be removed to NOTE in the open folder *staging*."""
    data = os.fsencode("\0".join(paths))
    with created(staging, NOTE) as file, open(file, "wb", closefd=False) as stream:
        stream.write(zlib.crc32(data).to_bytes(_CHECKSUM, "little") + data)


def files_and_folders(folder: int) -> tuple[list[str], list[str]]:
    """Return the names of files and of folders in the open *folder*."""
    names: tuple[list[str], list[str]] = ([], [])
    with os.scandir(folder) as scan:
        for entry in scan:
            names[entry.is_dir(follow_symlinks=False)].append(entry.name)
    return names


def give_back(root: int, staging: int) -> None:
    """Move files that must stay from the open folder *staging* to their places in the environment *root*.

    If a place has another file now, the file is moved to a new folder ``pipm-kept-…`` of the environment.
    Without a complete note no folder was replaced yet, and all files are new ones.
    """
    note = read_beneath(staging, NOTE) or b""
    checksum, data = note[:_CHECKSUM], note[_CHECKSUM:]
    if not data or zlib.crc32(data).to_bytes(_CHECKSUM, "little") != checksum:
        return
    try:
        folder = os.open(TREE, FOLDER, dir_fd=staging)
    except FileNotFoundError:  # a run that was killed while it removed both
        return
    with opened(folder) as tree:
        _Return(root, OwnPaths(os.fsdecode(data).split("\0"))).from_folder(tree, "")


class _Return:
    def __init__(self, root: int, own: OwnPaths) -> None:
        self._root, self._own = root, own
        self._kept = f"pipm-kept-{os.urandom(4).hex()}"

    def from_folder(self, folder: int, place: str) -> None:
        """Move the files of the open *folder*, formerly *place*, back."""
        files, below = files_and_folders(folder)
        for name in below:
            path = f"{place}/{name}".lstrip("/")
            if not self._own.has_folder(path):
                self._give(folder, name, place)
            elif path.count("/") <= DEEPEST:
                with opened(os.open(name, FOLDER, dir_fd=folder)) as inner:
                    self.from_folder(inner, path)
        for name in files:
            if not self._own.has_file(f"{place}/{name}".lstrip("/")):
                self._give(folder, name, place)

    def _give(self, folder: int, name: str, place: str) -> None:
        for path in (place, f"{self._kept}/{place}"):
            with contextlib.closing(FolderStack(self._root)) as folders:
                try:
                    target = folders.enter(path)
                except FileSystemError:  # a file has the name of the folder now
                    continue
                if not is_there(target, name):
                    os.rename(name, name, src_dir_fd=folder, dst_dir_fd=target)
                    return
                if place.endswith(CACHE) and name.endswith(".pyc"):
                    return  # Python has written it again
