"""The time of a directory whose files are replaced.

Python's import caches go by the time of the directory of the modules, and so do other tools.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pipm.fs.walk_tree import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def same_cache_time(directory: int) -> Iterator[None]:
    """Keep the time of the open *directory*, a ``__pycache__``: nothing goes by its time."""
    before = os.fstat(directory)
    try:
        yield
    finally:
        _restore_time(directory, before)


def _restore_time(directory: int, before: os.stat_result) -> bool:
    """Give an open directory the time that it had; returns whether it had another one."""
    if os.fstat(directory).st_mtime_ns == before.st_mtime_ns:
        return False
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


@contextlib.contextmanager
def same_folder_time(directory: int, *ours: str) -> Iterator[None]:
    """Keep the time of the open *directory*, by which import caches go, if its names stay.

    Names that are *ours* may come and go. The time must tell of a name that somebody adds meanwhile. The
    names are compared last: what comes after that changes the time by itself.
    """
    before = os.fstat(directory)
    names = {*names_in(directory), *ours}
    try:
        yield
    finally:
        if _restore_time(directory, before) and {*names_in(directory), *ours} != names:
            os.utime(directory)
