"""Finding environments below a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.env.environment import is_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER = frozenset({".git", "node_modules", "__pycache__", "site-packages", "proc", "sys"})


def find_environments(folder: str, *, leave_out: str) -> Iterator[str]:
    """Yield the environments below *folder*, sorted within each folder.

    Follows no symlink and does not enter *leave_out* (the store), environments themselves, or folders
    that never hold one. Unreadable folders are passed over, as find(1) does.
    """
    waiting = [folder]
    while waiting:  # no recursion: somebody's folders may lie in each other a thousand deep
        path = waiting.pop()
        if is_environment(path):
            yield path
            continue
        try:
            with os.scandir(path) as entries:
                below = sorted(
                    entry.path
                    for entry in entries
                    if entry.name not in _NEVER and entry.is_dir(follow_symlinks=False)
                )
        except OSError:
            continue
        waiting += [child for child in reversed(below) if child != leave_out]
