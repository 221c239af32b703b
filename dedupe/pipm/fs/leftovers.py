"""Torn writes, ``.name.<16 hexadecimal digits>``: a killed process left them beside the file."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from pipm.fs.beneath import directory_beneath
from pipm.fs.durability import final_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_torn_write(name: str) -> bool:
    """Whether a file of this *name* is what a killed write left."""
    return final_name(name) is not None


def remove_torn_writes(root: int, folders: Iterable[str], *, before: float | None = None) -> None:
    """Remove torn writes from *folders* below *root*; the caller keeps others from writing there.

    With *before* (seconds since the epoch) only those that are older: nobody writes for so long.
    """
    for path in folders:
        with contextlib.suppress(OSError), directory_beneath(root, path) as folder:
            if folder is None:
                continue
            for name in filter(is_torn_write, os.listdir(folder)):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and (before is None or status.st_mtime < before):
                    os.unlink(name, dir_fd=folder)
