"""The layout of the store; opening and locking it.

All state is in plain files, which can be rebuilt from the trees. A change is written to a temporary file,
synced and renamed. `_README` describes the layout.
"""

from __future__ import annotations

import contextlib
import os
import stat

from pipm.core.named_tuple import NamedTuple
from pipm.errors import StoreError
from pipm.fs.beneath import is_there
from pipm.fs.durability import Durability, sync_file_system, write_durably
from pipm.fs.flock import locked, locked_folder, try_lock
from pipm.fs.opened import opened
from pipm.fs.os_errors import explain_os_error
from pipm.fs.trust import foreign_part, is_foreign, user_name
from pipm.fs.walk_tree import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pipm.fs.removal import Stuck

VERSION = "v1"
_FOLDERS = ("wheels", "objects", "by-wheel", "bytecode", "roots", "tmp")
_TRASH = "trash"
OWN_NAMES = (VERSION, "README.txt", "CACHEDIR.TAG", "lock")
"""The names in the folder of a store."""
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_RUN = "run-"
RESERVE = "reserve"
RESERVE_SIZE = 512 << 10
"""Bytes of the reserve for a full disk: sharing frees space, but it first needs some blocks."""
_UNFINISHED = f".{VERSION}-"
_RANDOM = 8
"""Hexadecimal digits that end the name of an unfinished store."""
_README = """\
This folder is a store of pipm (venv-dedupe). Environments share the files in it.

  v1/objects/   every file's content once, named by its sha256; -x: executable, -w: writable.
                What Python imports is read-only; all else (data, templates) is not, because programs
                copy it with its mode. A content that is both has an object for each.
  v1/wheels/    <name>/<version>/<tag>-<id>/: the files of one wheel, hard links to objects
  v1/by-wheel/  <sha256 of a wheel archive>: which entry it is
  v1/bytecode/  <interpreter>/: compiled sources, named by the sha256 of the source
                and the time in their header
  v1/roots/     one file an environment that uses the store
  v1/originals/ what the files of such an environment were like before: modes and times
  v1/tmp/       work in progress
  v1/trash/     what `pipm gc` removes, for a while
  v1/reserve    given back when the disk is full

Do not change files here: environments share them. `pipm df` says what is used,
`pipm release ENV` gives an environment its own copies back.
"""
_CACHEDIR_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag (https://bford.info/cachedir/) made by pipm.
"""


class Store(NamedTuple):
    """An open store: its path, and descriptors of its folders (closed with the process)."""

    path: str
    v1: int
    objects: int
    bytecode: int
    roots: int
    tmp: int

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock shared; every writer does this."""
        with locked(f"{self.path}/lock", what="the store", shared=True):
            yield

    @contextlib.contextmanager
    def alone(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the store's lock exclusively (gc); wait at most *timeout* seconds (None: `lock_timeout`)."""
        with locked(f"{self.path}/lock", what="the store", timeout=timeout):
            yield

    @contextlib.contextmanager
    def run(self) -> Iterator[tuple[int, str]]:
        """Make a private folder in ``tmp/`` for this run and yield its descriptor and its path.

        The run holds a lock on the folder, so the folders of killed runs can be recognised and removed.
        """
        name = _RUN + os.urandom(8).hex()
        try:
            # With the lock of tmp/, another run cannot remove the new folder before it is locked.
            with self._tmp_alone():
                self._sweep()
                os.mkdir(name, 0o700, dir_fd=self.tmp)
                folder = os.open(name, _DIRECTORY, dir_fd=self.tmp)
                try_lock(folder)
        except OSError as error:
            raise explain_os_error(error, f"write to the store {self.path}") from error
        try:
            yield folder, f"{self.path}/{VERSION}/tmp/{name}"  # noqa: S108 - the store's own tmp
        finally:
            self._remove_run(name)
            os.close(folder)

    def sweep(self) -> list[Stuck]:
        """Remove the folders of killed runs, as every new run does; return what could not be removed."""
        if any(name.startswith(_RUN) for name in names_in(self.tmp)):
            with self._tmp_alone():
                return self._sweep()
        return []

    def _tmp_alone(self) -> AbstractContextManager[None]:
        return locked_folder(self.tmp, what="the store's work in progress")

    def _sweep(self) -> list[Stuck]:
        stuck: list[Stuck] = []
        for name in names_in(self.tmp):
            if not name.startswith(_RUN):
                continue
            with (
                contextlib.suppress(FileNotFoundError),
                opened(os.open(name, _DIRECTORY, dir_fd=self.tmp)) as folder,
            ):
                if try_lock(folder):
                    stuck += self._remove_run(name)
        return stuck

    def _remove_run(self, name: str) -> list[Stuck]:
        """Remove the folder *name* of ``tmp/``; return files (immutable ones) that could not be removed."""
        from pipm.fs.removal import remove_below  # noqa: PLC0415 - a sync with nothing to do has no such folder

        return remove_below(self.tmp, name, f"{self.path}/{VERSION}/tmp/{name}")  # noqa: S108 - the store's

    def remove_folder(self, path: str) -> list[Stuck]:
        """Remove the folder *path* below ``v1/``; return the files that stay.

        The caller holds the lock exclusively. The folder is first renamed into ``tmp/``, which needs neither
        a block nor an inode. If this process is killed then, the next run removes the rest.
        """
        name = _RUN + os.urandom(8).hex()
        try:
            os.rename(path, name, src_dir_fd=self.v1, dst_dir_fd=self.tmp)
        except FileNotFoundError:
            return []
        except OSError as error:
            from pipm.fs.removal import stuck_at  # noqa: PLC0415 - ends the run

            return [stuck_at(self.v1, path, f"{self.path}/{VERSION}/{path}", error)]
        return self._remove_run(name)


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_store(path: str, *, create: bool = True) -> Store | None:
    """Open the store at *path*; if it is missing, make it with *create*, else return None.

    Raises StoreError if *path* is something else, or if another user can write to it.
    """
    try:
        if not os.path.isdir(f"{path}/{VERSION}"):
            if not create:
                return None
            _check_way(path)
            _create(path)
        return _opened(path)
    except OSError as error:
        raise explain_os_error(error, f"use the store {path}") from error


_open_stores: dict[tuple[str, int, int], Store] = {}
"""Open stores by path, device and inode of ``v1``: a run over many environments opens each store once."""


def _opened(path: str) -> Store:
    v1 = os.open(f"{path}/{VERSION}", _DIRECTORY)
    try:
        status = os.fstat(v1)
        _check_owner(path, v1)
        key = (path, status.st_dev, status.st_ino)
        known = _open_stores.get(key)
        if known is not None:
            os.close(v1)
            return known
        _check_way(path)
        if not all(is_there(v1, name) for name in _FOLDERS):
            _make_whole(path, v1)
        folders = {
            name: os.open(name, _DIRECTORY, dir_fd=v1) for name in ("objects", "bytecode", "roots", "tmp")
        }
    except BaseException:
        os.close(v1)
        raise
    _open_stores[key] = Store(path=path, v1=v1, **folders)
    return _open_stores[key]


def _make_whole(path: str, v1: int) -> None:
    """Make missing folders in an empty store: a power cut may have removed them from a new one."""
    from pipm.fs.share_file import ensure_folder  # noqa: PLC0415 - few stores lack one

    if not any(os.listdir(f"{path}/{VERSION}/{name}") for name in os.listdir(v1)):
        for name in _FOLDERS:
            ensure_folder(v1, name, 0o700)


def release_reserve(store: Store) -> None:
    """Remove the reserve on a full file system, for the blocks that an adoption needs."""
    from pipm.fs.share_file import forget  # noqa: PLC0415 - likewise

    with contextlib.suppress(OSError):
        forget(store.v1, RESERVE)
        sync_file_system(store.v1)  # XFS uses freed blocks again only after it wrote its log


def keep_reserve(store: Store) -> None:
    """Make the reserve if it is missing and there is room for it."""
    if not os.path.exists(f"{store.path}/{VERSION}/{RESERVE}"):
        with contextlib.suppress(OSError):
            # Random bytes, because a file system may compress zeros.
            write_durably(store.v1, RESERVE, os.urandom(RESERVE_SIZE), Durability.LATER)


def reserved_bytes(store: Store) -> int:
    """Return the bytes of the reserve on disk."""
    try:
        return os.stat(RESERVE, dir_fd=store.v1).st_blocks * 512
    except FileNotFoundError:
        return 0


def folder_blocks(store: Store) -> int:
    """Return the bytes of the store's folders, which grow with their names, without the entries' folders."""
    total = 0
    for top, depth in (("objects", 1), ("bytecode", 2), ("wheels", 2)):
        total += sum(_blocks_below(f"{store.path}/{VERSION}/{top}", depth))
    return total


def _blocks_below(path: str, depth: int) -> Iterator[int]:
    yield os.stat(path).st_blocks * 512
    if depth:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in below:
            yield from _blocks_below(folder, depth - 1)


def _create(path: str) -> None:
    if os.path.lexists(path) and not os.path.isdir(path):
        raise StoreError(f"{path} is not a folder", hint="choose another place with --store")
    # The lock, another run's new v1 (also a killed run's), and lost+found do not count as other files.
    if os.path.isdir(path):
        known = (*OWN_NAMES, "lost+found")
        unexpected = [name for name in os.listdir(path) if name not in known and not _is_unfinished(name)]
        if unexpected:
            raise StoreError(
                f"{path} contains files that are not pipm's ({min(unexpected)})",
                hint="choose an empty or new folder with --store or PIPM_STORE",
            )
    from pipm.fs.removal import remove_tree  # noqa: PLC0415 - once for each store

    os.makedirs(path, mode=0o700, exist_ok=True)
    with locked(f"{path}/lock", what="the store"):
        if os.path.isdir(f"{path}/{VERSION}"):
            return
        for name, text in (("CACHEDIR.TAG", _CACHEDIR_TAG), ("README.txt", _README)):
            with open(f"{path}/{name}", "w", encoding="ascii") as stream:
                stream.write(text)
        with opened(os.open(path, _DIRECTORY)) as parent:
            for name in filter(_is_unfinished, os.listdir(parent)):
                remove_tree(parent, name)
        # Made under a temporary name and renamed, so that a killed process leaves no half store.
        new = f"{path}/{_UNFINISHED}{os.urandom(_RANDOM // 2).hex()}"
        os.mkdir(new, 0o700)  # not the umask's mode: a group must not write to it
        for name in _FOLDERS:
            os.mkdir(f"{new}/{name}", 0o700)
        # Not synced, because a writer syncs the whole store before anything depends on it. After a power cut
        # btrfs may have the name but only some of the folders; `_make_whole` makes the others.
        os.rename(new, f"{path}/{VERSION}")


def _is_unfinished(name: str) -> bool:
    end = name.removeprefix(_UNFINISHED)
    return name != end and len(end) == _RANDOM and not end.strip("0123456789abcdef")


def _check_owner(path: str, v1: int) -> None:
    """Raise StoreError if another user owns or can write to a folder of the store at *path*."""
    _check_folder(path, path, os.stat(path))
    _check_folder(path, f"{path}/{VERSION}", os.fstat(v1))
    for name in (*_FOLDERS, _TRASH):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=v1, follow_symlinks=False)
            _check_folder(path, f"{path}/{VERSION}/{name}", status)


def _check_way(path: str) -> None:
    """Raise StoreError if another user could replace root's store.

    Environments with the finder or with symlinks run code from the store.
    """
    part = foreign_part(os.path.abspath(path)) if os.geteuid() == 0 else None
    if part is None or part == path:  # `_check_owner` checks the store itself
        return
    owner = os.lstat(part).st_uid
    raise StoreError(
        f"{part}, in the path of the store {path}, belongs to another user, or others can write to it",
        hint="choose another place with --store or PIPM_STORE; or, if you are that user (a container):"
        f" export PIPM_TRUSTED_USERS={owner}",
    )


def _check_folder(store: str, path: str, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(
            f"{path} in the store is not a folder",
            hint="move the whole store to another place, and set PIPM_STORE to it",
        )
    if status.st_uid not in (os.geteuid(), 0):
        shown = "" if path == store else f" has a folder {path} that"
        raise StoreError(
            f"The store {store}{shown} belongs to another user",
            hint="use your own: pipm --store DIR, or unset PIPM_STORE; or run pipm as that user: sudo -u"
            f" {user_name(status.st_uid)} pipm (in a container: --user {status.st_uid})",
        )
    # The user may have made the folder itself, with the mode of the umask.
    open_to_others = is_foreign(status) if path == store else status.st_mode & _OTHERS
    if open_to_others:
        raise StoreError(
            f"Other users can write to {path}: pipm does not trust the store", hint=f"chmod -R go-w {store}"
        )


def open_folders(store_path: str) -> Iterator[str]:
    """Yield the folders of objects, bytecode and distributions that another user owns or can write to."""
    for top in ("objects", "bytecode", "wheels"):
        with contextlib.suppress(OSError), os.scandir(f"{store_path}/{VERSION}/{top}") as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_uid not in (os.geteuid(), 0) or status.st_mode & _OTHERS:
                    yield entry.path
