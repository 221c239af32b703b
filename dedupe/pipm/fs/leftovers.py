"""Leftovers of killed processes: unfinished writes (``.name.<16 hex digits>``) and temporary names."""

from __future__ import annotations

import contextlib
import os
import stat

from pipm.errors import FileSystemError
from pipm.fs.beneath import directory_beneath, is_there
from pipm.fs.durability import final_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STAGING = ".pipm-tmp"
"""The folder of temporary names in an environment (`staging`)."""


def is_torn_write(name: str) -> bool:
    """Return whether *name* is the name of an unfinished write."""
    return final_name(name) is not None


def remove_torn_writes(
    root: int,
    folders: Iterable[str],
    *,
    of: Callable[[str], object] = bool,
    before: float = float("inf"),
) -> None:
    """Remove unfinished writes from *folders* below *root*; the caller holds the lock for them.

    Only files whose final name makes *of* true, and that are older than *before* (seconds since the epoch).
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


def sweep(environment: int) -> None:
    """Remove the folder of temporary names from the open folder *environment*, if there is one.

    Files of other programs in folders that a sync replaced go back first.
    """
    try:
        status = os.stat(STAGING, dir_fd=environment, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid == os.geteuid():
        os.unlink(STAGING, dir_fd=environment)  # `replace_by_link` was killed
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise FileSystemError(
            f"{STAGING} in the environment was not made by pipm", hint="look at it and move it away"
        )
    from pipm.fs.folder_time import same_folder_time  # noqa: PLC0415 - few runs are killed
    from pipm.fs.late_files import NOTE, give_back  # noqa: PLC0415 - likewise
    from pipm.fs.removal import remove_tree  # noqa: PLC0415 - likewise

    if is_there(environment, f"{STAGING}/{NOTE}"):
        with directory_beneath(environment, STAGING) as staging:
            assert staging is not None
            give_back(environment, staging)
    with same_folder_time(environment, STAGING):
        remove_tree(environment, STAGING)
