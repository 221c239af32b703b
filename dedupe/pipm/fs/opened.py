"""Context managers for file descriptors."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

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
