"""A context manager for file descriptors."""

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
