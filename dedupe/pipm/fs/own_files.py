"""Folders and files of pipm itself, outside of the store and of environments."""

from __future__ import annotations

import contextlib
import os

from pipm.fs.durability import Durability, write_durably
from pipm.fs.opened import opened, opened_folder
from pipm.fs.removal import remove_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def make_folders(path: str) -> None:
    """Make the folder *path* and the missing ones above it; only this user may enter new ones."""
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
    """Make a temporary folder in *parent*, yield its path, and remove it at the end of the with block."""
    path = os.path.join(parent, f".{os.urandom(8).hex()}")
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        remove_folder(path)


def add_file(path: str, data: bytes, mode: int) -> None:
    """Write the file *path*, and make its folders, unless it exists; the mode is *mode* minus the umask."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError), open(os.open(path, flags, mode), "wb") as stream:
        stream.write(data)


def write_shared_file(path: str, data: bytes) -> None:
    """Replace the file *path*, and make its folders; the umask decides whether others may read it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with opened_folder(os.path.dirname(path)) as folder:
        write_durably(folder, os.path.basename(path), data, Durability.WHOLE, mode=0o666)


def add_link(path: str, target: str) -> None:
    """Make the symlink *path*, and its folders, unless *path* exists."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(target, path)


def write_lines(path: str, lines: list[str]) -> None:
    """Write the new text file *path*."""
    with open(path, "x", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def move(path: str, to: str) -> None:
    """Rename *path* to *to* on the same file system; a file there is replaced."""
    os.replace(path, to)


def move_durably(path: str, to: str) -> None:
    """Sync the file at *path*, then rename it to *to* on the same file system."""
    with opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        os.fsync(file)
    move(path, to)


def remove_file(path: str) -> None:
    """Remove the file *path*."""
    os.unlink(path)
