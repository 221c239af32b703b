"""Deciding which files of an environment become its own again (design D7)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

    from pipm.core.usage import Accounting

_READ_ONLY = 0o222


class SharedFile(NamedTuple):
    """A file that shares something: where it lies in the environment, and its stat."""

    directory: str
    name: str
    status: os.stat_result

    @property
    def shown(self) -> str:
        """The path that a person is told, relative to the environment."""
        return f"{self.directory}/{self.name}" if self.directory else self.name


class Release(NamedTuple):
    """Replace the file by a private copy with *mode*; its time stays, and with it its bytecode."""

    file: SharedFile
    mode: int


def plan_release(files: list[SharedFile], umask: int) -> list[Release]:
    """Plan private copies: what the store made read-only is writable again, as *umask* allows."""
    return [Release(file, _mode(file.status.st_mode, umask)) for file in files]


def needed_bytes(releases: list[Release], accounting: Accounting) -> int:
    """Bytes of disk that the copies will take."""
    total = 0
    for release in releases:
        size = release.file.status.st_size
        new_inode = not release.file.status.st_mode & _READ_ONLY  # a reflinked file's goes, its copy's comes
        total += accounting.data(size, -(-size // 4096) * 8)
        total += accounting.made if new_inode else 0
        total += accounting.extent if size > accounting.inline else 0
    return total


def _mode(mode: int, umask: int) -> int:
    if mode & _READ_ONLY:
        return stat.S_IMODE(mode)  # a reflinked file kept its own mode
    return (0o777 if mode & stat.S_IXUSR else 0o666) & ~umask
