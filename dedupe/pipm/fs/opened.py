"""Context managers for file descriptors."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def opened(file: int) -> Iterator[int]:
    """Close the open *file* at the end of the block."""
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def opened_folder(path: str, *, follow: bool = True) -> Iterator[int]:
    """Open the directory *path*; without *follow* a symlink raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def created(directory: int, name: str, mode: int = 0o600) -> Iterator[int]:
    """Create the file *name* in *directory*, open for writing; remove it if the with block fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    file = os.open(name, flags, mode, dir_fd=directory)
    try:
        yield file
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(file)
