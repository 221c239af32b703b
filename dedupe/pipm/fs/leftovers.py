"""Torn writes, ``.name.<16 hexadecimal digits>``: a killed process left them beside the file."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from pipm.fs.beneath import directory_beneath
from pipm.fs.durability import final_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def is_torn_write(name: str) -> bool:
    """Return whether a file of this *name* is what a killed write left."""
    return final_name(name) is not None


def remove_torn_writes(
    root: int,
    folders: Iterable[str],
    *,
    of: Callable[[str], object] = bool,
    before: float = float("inf"),
) -> None:
    """Remove torn writes from *folders* below *root*; the caller keeps others from writing there.

    Only those *of* files with such names, and made *before* that time (seconds since the epoch).
    """
    for path in folders:
        with contextlib.suppress(OSError), directory_beneath(root, path) as folder:
            if folder is None:
                continue
            for name in os.listdir(folder):
                final = final_name(name)
                if final is None or not of(final):
                    continue
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                    os.unlink(name, dir_fd=folder)
