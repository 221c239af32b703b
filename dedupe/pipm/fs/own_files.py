"""Folders and files that pipm makes for its own use, outside of store and environments."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pipm.fs.durability import Durability, write_durably
from pipm.fs.opened import opened, opened_folder
from pipm.fs.removal import remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_folders(path: str) -> None:
    """Make the folder *path* with all above it, for this user alone where they are new."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):  # os.makedirs would make those above with the umask's mode
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def write_marker(path: str) -> None:
    """Make the empty file *path*."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


@contextlib.contextmanager
def scratch_folder(parent: str) -> Iterator[str]:
    """Make a folder in *parent* for the length of a with block, and yield its path."""
    path = os.path.join(parent, f".{os.urandom(8).hex()}")
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        remove_folder(path)


def add_file(path: str, data: bytes, mode: int) -> None:
    """Write the file *path* with its folders, unless something is there; the umask is taken from *mode*."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError), open(os.open(path, flags, mode), "wb") as stream:
        stream.write(data)


def write_shared_file(path: str, data: bytes) -> None:
    """Replace the file *path*, made with its folders, as others may read it: the umask decides."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with opened_folder(os.path.dirname(path)) as folder:
        write_durably(folder, os.path.basename(path), data, Durability.WHOLE, mode=0o666)


def add_link(path: str, target: str) -> None:
    """Make the symlink *path* with its folders, unless something is there."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(target, path)


def write_lines(path: str, lines: list[str]) -> None:
    """Write the new text file *path*."""
    with open(path, "x", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def move(path: str, to: str) -> None:
    """Rename *path* to *to* on the same file system; replace a file there."""
    os.replace(path, to)


def move_durably(path: str, to: str) -> None:
    """Give the file at *path* the name *to* on the same file system once its bytes are on disk."""
    with opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        os.fsync(file)
    move(path, to)


def remove_file(path: str) -> None:
    """Remove the file *path*."""
    os.unlink(path)
