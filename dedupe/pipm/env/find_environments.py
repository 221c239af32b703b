"""Finding environments below a folder."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING

from pipm.env.environment import is_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NEVER = frozenset({".git", "node_modules", "__pycache__", "site-packages", "proc", "sys"})


def find_environments(folder: str, *, leave_out: str, exclude: Sequence[str] = ()) -> Iterator[str]:
    """Yield the environments below *folder*, sorted within each folder.

    Follows no symlink and does not enter *leave_out* (the store), environments themselves, folders that
    *exclude* has globs of, or that never hold one. Unreadable folders are passed over, as find(1) does.
    """
    globs = _pattern(exclude)
    waiting = [folder]
    while waiting:  # no recursion, since folders may be nested to any depth
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
        waiting += [child for child in reversed(below) if child != leave_out and not globs(f"{child}/")]


def _pattern(globs: Sequence[str]) -> Callable[[str], object]:
    """Return what matches the path of a folder, with a slash at its end, that one of *globs* means.

    ``*`` matches slashes, too. A glob without one is a name, in any folder; one with a slash at its
    beginning (or ``~/``) is a whole path, any other the end of one.
    """
    absolute = (os.path.expanduser(glob).rstrip("/") for glob in globs)
    rules = [fnmatch.translate(f"{glob if glob.startswith('/') else f'*/{glob}'}/") for glob in absolute]
    return re.compile("|".join(rules) or r"(?!)").match
