"""Metadata folders of finder environments: real files, with few inodes.

Installers and scanners read metadata from the disk, and skip symlinks. Many distributions have the same WHEEL
file and an empty REQUESTED: files with equal content are one inode of the environment.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipm.core.install_plan import KEPT_METADATA
from pipm.fs.beneath import directory_beneath
from pipm.fs.link_identical import IdenticalFiles
from pipm.fs.opened import opened
from pipm.fs.staging import Staging, staging
from pipm.fs.walk_tree import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ALIKE = ("WHEEL", "REQUESTED", "INSTALLER")
_MOST_BYTES = 4096
_FILE = 0o666


def make_real(root: int, site: str, metadata: Iterable[str]) -> None:
    """Replace symlinks in the folders *metadata* by files; files with equal content become one inode."""
    with _folders(root, site, metadata) as (area, folders):
        identical = IdenticalFiles(area)
        for folder in folders:
            for file in set(names_in(folder)).intersection(KEPT_METADATA):
                if stat.S_ISLNK(_status(folder, file).st_mode):
                    _copy_over(area, folder, file)
            for file in set(names_in(folder)).intersection(_ALIKE):
                _put_alike(identical, folder, file)


def make_own(root: int, site: str, metadata: Iterable[str]) -> None:
    """Give each file in the folders *metadata* an inode of its own again."""
    with _folders(root, site, metadata) as (area, folders):
        for folder in folders:
            for file in set(names_in(folder)).intersection(_ALIKE):
                status = _status(folder, file)
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    _copy_over(area, folder, file)


def is_made_here(name: str, status: os.stat_result) -> bool:
    """Return whether `make_real` or `make_own` may have made the file *name* of a metadata folder."""
    return status.st_nlink == 1 and (name in KEPT_METADATA or name in _ALIKE)


@contextmanager
def _folders(root: int, site: str, metadata: Iterable[str]) -> Iterator[tuple[Staging, Iterator[int]]]:
    """Yield a staging area, and an iterator of the existing folders *metadata*, each open until the next."""

    def opened() -> Iterator[int]:
        for name in metadata:
            with directory_beneath(root, f"{site}/{name}") as folder:
                if folder is not None:
                    yield folder

    with staging(root) as temporary:
        area = Staging(temporary, "0")
        try:
            yield area, opened()
        finally:
            area.close()


def _put_alike(identical: IdenticalFiles, folder: int, name: str) -> None:
    """Replace a file by a link to an equal one in *identical*."""
    status = _status(folder, name)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_size > _MOST_BYTES:
        return
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), "rb") as stream:
        identical.put(folder, name, stream.read())


def _copy_over(area: Staging, folder: int, name: str) -> None:
    with opened(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)) as source:
        area.move(area.copy(source, _FILE & ~_umask()), folder, name)


def _status(folder: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
