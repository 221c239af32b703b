"""Paths of an environment with a file or symlink where a folder belongs, or the other way round."""

from __future__ import annotations

import os

from pipm.errors import FileSystemError
from pipm.fs.folder_stack import FOLDER
from pipm.fs.opened import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from pipm.fs.late_files import OwnPaths


def refuse_clashes(
    root: int, path: str, planned: Mapping[str, Callable[[], Container[str]]], own: Callable[[], OwnPaths]
) -> None:
    """Raise FileSystemError if *planned* files do not fit into the environment at *path*, open as *root*.

    *planned* has the folders, relative to it, each with a function for the names of the new files in it.
    What *own* returns may go.
    """
    folders: set[str] = set()
    for one in planned:
        above = one
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]

    def check(folder: int, place: str) -> None:
        names = planned[place]() if place in planned else ()
        below = []
        with os.scandir(folder) as scan:
            for entry in scan:
                inner = f"{place}/{entry.name}" if place else entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if inner not in folders:
                    if is_folder and entry.name in names and not own().has_folder(inner):
                        raise _clash(f"{path}/{inner}", "a folder", "a file of this name")
                elif is_folder:
                    below.append((entry.name, inner))
                elif not own().has_file(inner):
                    kind = "a symbolic link" if entry.is_symlink() else "not a folder"
                    raise _clash(f"{path}/{inner}", kind, "a folder of this name")
        for name, inner in below:
            with opened(os.open(name, FOLDER, dir_fd=folder)) as opened_folder:
                check(opened_folder, inner)

    check(root, "")


def _clash(path: str, kind: str, brought: str) -> FileSystemError:
    return FileSystemError(
        f"{path} is {kind}, but a distribution has {brought}; nothing was changed",
        hint="move it away and run the same command again",
    )
