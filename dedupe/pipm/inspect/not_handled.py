"""Places with packages that pipm does not handle, with their size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pipm.env.places import CONDA, conda_paths
from pipm.errors import NotAnEnvironmentError
from pipm.fs.measure import measure_tree
from pipm.fs.opened import opened_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.env.find_environments import Passed

_BLOCK = 512


class NotHandled(NamedTuple):
    """A place, the reason why pipm does not handle it, and its bytes on disk."""

    path: str
    why: str
    on_disk: int


def not_handled(passed: Iterable[Passed], environments: Iterable[str]) -> list[NotHandled]:
    """Measure the places that a search *passed*, and conda's own files in the found *environments*."""
    rows = [NotHandled(path, why, _size(path)) for path, why in passed]
    return rows + [NotHandled(path, "conda's own files", size) for path, size in _conda(environments)]


def _size(path: str) -> int:
    try:
        return measure_tree(path).usage.on_disk
    except OSError:  # not readable, or just removed
        return 0


def _conda(environments: Iterable[str]) -> Iterator[tuple[str, int]]:
    for path in environments:
        if not os.path.isdir(f"{path}/{CONDA}"):
            continue
        try:
            with opened_folder(path) as root:
                yield path, _blocks(root, conda_paths(root))
        except (OSError, NotAnEnvironmentError):
            continue


def _blocks(root: int, paths: Iterable[str]) -> int:
    """Sum up the blocks of *paths* below the folder open as *root*, each inode once."""
    sizes = {}
    for path in paths:
        try:
            status = os.stat(path, dir_fd=root, follow_symlinks=False)
        except (OSError, ValueError):
            continue
        sizes[status.st_ino] = status.st_blocks * _BLOCK
    return sum(sizes.values())
