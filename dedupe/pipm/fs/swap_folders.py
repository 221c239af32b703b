"""Replacing files of an environment by those of a staged tree, so that no file is missing at any time.

If all files of a folder may go, the folder and the staged one are exchanged in one step (renameat2(2) with
RENAME_EXCHANGE). Else each staged file is renamed over the old one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from functools import cache

from pipm.errors import FileSystemError
from pipm.fs.beneath import status_beneath
from pipm.fs.folder_stack import FOLDER, not_a_folder, state_in
from pipm.fs.late_files import CACHE, DEEPEST, files_and_folders
from pipm.fs.link_modes import LinkMode, place_file
from pipm.fs.opened import opened
from pipm.fs.share_file import forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any

    from pipm.fs.folder_stack import FolderState
    from pipm.fs.late_files import OwnPaths

_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS."""
_SWAPPED = "swapped"
_RECORD = "RECORD"


def staged_tree(staging: int, name: str, model: int) -> int:
    """Make and open the folder *name* in *staging*; it passes group and ACL on as the open folder *model*."""
    os.mkdir(name, 0o700, dir_fd=staging)
    folder = os.open(name, FOLDER, dir_fd=staging)
    status = os.fstat(model)
    if status.st_gid != os.fstat(folder).st_gid:
        with contextlib.suppress(PermissionError):  # the user is not a member of the group
            os.fchown(folder, -1, status.st_gid)
    if status.st_mode & stat.S_ISGID:
        os.fchmod(folder, 0o700 | stat.S_ISGID)
    if hasattr(os, "getxattr"):
        with contextlib.suppress(OSError):  # the folder has no ACL, or the file system has none
            acl = os.getxattr(model, "system.posix_acl_default")
            os.setxattr(folder, "system.posix_acl_default", acl)
    return folder


class SwapFolders:
    """Puts a staged tree into an environment.

    *aside* is the open folder of temporary names. The environment's files *own* may be removed: their folders
    are moved into the staged tree in exchange for the new ones. The caller replaces the folder *apart*. The
    folders *mounted* stay in their places. Paths are relative to the environment. ``folders`` are those that
    were swapped as a whole, ``files`` those that were put into folders which stay. ``left`` is the state of
    the new folders.
    """

    def __init__(self, own: OwnPaths, aside: int, apart: str, mounted: Container[str] = ()) -> None:
        self._own, self._aside, self._apart, self._mounted = own, aside, apart, mounted
        self.folders: set[str] = set()
        self.left: FolderState = {}
        self.files: set[str] = set()

    def place(self, staged: int, target: int, path: str, names: Iterable[str], *, whole: bool) -> None:
        """Move *names* of the open folder *staged* into *target*, the environment's folder *path*.

        With *whole*, folders are exchanged if possible.
        """
        names = list(names)
        _forget_bytecode(target, {name[:-3] for name in names if name.endswith(".py")})
        for name in sorted(names, key=lambda name: (name == _RECORD, name)):
            place = f"{path}/{name}" if path else name
            if place == self._apart:
                continue
            if _is_folder(staged, name):
                self._place_folder(staged, name, target, place, whole=whole)
            else:
                self._place_file(staged, name, target, place)

    def _place_folder(self, staged: int, name: str, target: int, place: str, *, whole: bool) -> None:
        there = status_beneath(target, name)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if not (self._own.has_file(place) and self._exchange(staged, name, target, place)):
                raise not_a_folder(name)
        elif there is None and _move(staged, name, target):
            self.folders.add(place)
        elif there is None:
            os.mkdir(name, dir_fd=target)
            self._merge(staged, name, target, place, whole=False)
        elif not (
            whole and self._may_go(target, name, place) and self._exchange(staged, name, target, place)
        ):
            self._merge(staged, name, target, place, whole=whole)
            return
        self.left[place] = state_in(target, name)

    def _merge(self, staged: int, name: str, target: int, place: str, *, whole: bool) -> None:
        with (
            opened(os.open(name, FOLDER, dir_fd=staged)) as new,
            opened(os.open(name, FOLDER, dir_fd=target)) as old,
        ):
            self.place(new, old, place, os.listdir(new), whole=whole)

    def _place_file(self, staged: int, name: str, target: int, place: str) -> None:
        try:
            if not _move(staged, name, target):
                _copy(staged, name, target)
        except IsADirectoryError as error:
            if not (self._may_go(target, name, place) and self._exchange(staged, name, target, place)):
                raise FileSystemError(
                    f"There is a folder {name!r} in the environment where a file belongs",
                    hint="move it away and run the same command again",
                ) from error
        self.files.add(place)

    def take_away(self, staged: int, target: int, path: str, name: str) -> bool:
        """Move the folder *name* of *target*, the environment's *path*, to *staged* if its files may go."""
        there = status_beneath(target, name)
        if there is None or not stat.S_ISDIR(there.st_mode):
            return False
        place = f"{path}/{name}"
        if not (self._may_go(target, name, place) and _take(target, name, staged)):
            return False
        self.folders.add(place)
        return True

    def is_below(self, path: str) -> bool:
        """Return whether *path* lies in a folder that was swapped as a whole."""
        while path := path.rpartition("/")[0]:
            if path in self.folders:
                return True
        return False

    def _exchange(self, staged: int, name: str, target: int, place: str) -> bool:
        """Exchange *name* in two folders; return False if they must be merged instead."""
        call, encoded = _exchange_call(), os.fsencode(name)
        if call is None or call(staged, encoded, target, encoded, _EXCHANGE):
            # After a kill the old one is also at its path in the tree.
            os.rename(name, _SWAPPED, src_dir_fd=staged, dst_dir_fd=self._aside)
            if not _take(target, name, staged):
                os.rename(_SWAPPED, name, src_dir_fd=self._aside, dst_dir_fd=staged)
                return False
            try:
                os.rename(_SWAPPED, name, src_dir_fd=self._aside, dst_dir_fd=target)
            except OSError:
                os.rename(name, name, src_dir_fd=staged, dst_dir_fd=target)
                raise
        self.folders.add(place)
        return True

    def _may_go(self, parent: int, name: str, place: str) -> bool:
        """Return whether all files in the folder *name* of the open folder *parent* may go."""
        if not self._own.has_folder(place) or place.count("/") > DEEPEST:
            return False
        try:
            folder = os.open(name, FOLDER, dir_fd=parent)
        except OSError:
            return False
        with opened(folder):
            # A mount point, or root's folder in another user's environment: its files could not be removed.
            if place in self._mounted or not os.access(".", os.W_OK, dir_fd=folder):
                return False
            files, below = files_and_folders(folder)
            return all(self._own.has_file(f"{place}/{file}") for file in files) and all(
                self._may_go(folder, other, f"{place}/{other}") for other in below
            )


def _forget_bytecode(folder: int, modules: Container[str]) -> None:
    """Remove the bytecode of *modules* whose sources are replaced in the open *folder*.

    Python compares times in whole seconds, so it could take old bytecode for that of the new source.
    """
    try:
        cache = os.open(CACHE, FOLDER, dir_fd=folder)
    except OSError:
        return
    with opened(cache):
        for name in os.listdir(cache):
            if name.endswith(".pyc") and name.partition(".")[0] in modules:
                forget(cache, name)


def _move(staged: int, name: str, target: int) -> bool:
    """Rename *name* into *target*; return False if *target* is another mount."""
    try:
        os.rename(name, name, src_dir_fd=staged, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _take(target: int, name: str, staged: int) -> bool:
    """Move *name* out of *target*; return False if rename(2) cannot do it."""
    try:
        os.rename(name, name, src_dir_fd=target, dst_dir_fd=staged)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EBUSY):  # in overlayfs's lower layer, or mounted
            raise
        return False
    return True


def _copy(staged: int, name: str, target: int) -> None:
    """Copy *name* of the open folder *staged* to *target*."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=target)
    if stat.S_ISLNK(os.stat(name, dir_fd=staged, follow_symlinks=False).st_mode):
        os.symlink(os.readlink(name, dir_fd=staged), name, dir_fd=target)
    else:
        place_file(LinkMode.COPY, staged, name, target, name)


@cache
def _exchange_call() -> Any | None:  # noqa: ANN401 - ctypes gives no better type
    library = ctypes.CDLL(None)
    call = getattr(library, "renameat2", None) or getattr(library, "renameatx_np", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call


def _is_folder(directory: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
