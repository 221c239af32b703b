"""Removing files of an environment by name, never through a symlink."""

from __future__ import annotations

import contextlib
import errno
import os

from pipm.fs.beneath import directory_beneath

_CACHE = "__pycache__"


def remove_files(root: int, folder: str, names: list[str]) -> int:
    """Remove the files *names* of *folder* (below the open *root*) and the bytecode of its modules.

    Return the number of removed files. A folder with one of these names stays.
    """
    removed = 0
    modules = {name[:-3] for name in names if name.endswith(".py")}
    with directory_beneath(root, folder) as directory:
        if directory is None:
            return 0
        for name in names:
            removed += _remove(directory, name)
        if modules:
            with directory_beneath(directory, _CACHE) as cache:
                if cache is None:
                    return removed
                for name in os.listdir(cache):
                    if name.endswith(".pyc") and name.split(".", maxsplit=1)[0] in modules:
                        _remove(cache, name)
            _remove_empty(directory, _CACHE)
    return removed


def remove_emptied_folders(root: int, folders: set[str], keep: frozenset[str]) -> None:
    """Remove the empty ones of *folders* below *root* and of the folders above them, except *keep*."""
    above = set()
    for folder in folders:
        path = folder
        while path and path not in keep:
            above.add(path)
            path = path.rpartition("/")[0]
    for path in sorted(above, key=lambda path: -path.count("/")):
        parent, _, name = path.rpartition("/")
        with directory_beneath(root, parent) as directory:
            if directory is not None:
                _remove_empty(directory, name)


def _remove(directory: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EPERM, errno.ENOTDIR) and _is_folder(directory, name):
            return False
        raise
    return True


def _is_folder(directory: int, name: str) -> bool:
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))
    except OSError:
        return False
    return True


def _remove_empty(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):  # not empty, missing, or not a folder
        os.rmdir(name, dir_fd=directory)
