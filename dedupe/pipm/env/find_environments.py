"""Finding environments below a folder."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pipm.env.places import CONDA, CONFIGURATION, marker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PASSED = {"dist-packages": "the system's", "archive-v0": "uv's cache"}
"""Folders with packages that are not environments, and the reason."""
_NEVER = {".git", "node_modules", "__pycache__", "site-packages", "proc", "sys", *_PASSED}
_LAYERS = ("/containers/storage/overlay", "/docker/overlay2", "/flatpak/runtime", "/flatpak/app")
"""The ends of paths with layers of containers and images; the container tools need these files unchanged."""
_HINTS = {CONFIGURATION, CONDA, "site-packages", "lib"}
"""Each place contains one of these names."""

_STORE = {"objects", "wheels", "roots"}
"""Names in the folder of a store."""


class Passed(NamedTuple):
    """A place with packages that pipm does not handle, and the reason."""

    path: str
    why: str


def find_environments(
    folder: str, *, leave_out: str, exclude: Sequence[str] = (), passed: list[Passed] | None = None
) -> Iterator[str]:
    """Yield the environments below *folder*, sorted within each folder: all places of `env.places`.

    Symlinks are not followed. The search does not enter *leave_out* (the store), other stores, environments,
    folders that a glob of *exclude* matches, and folders that never contain an environment. Unreadable
    folders are skipped, as in find(1). Places with packages that are not environments are added to *passed*.
    """
    globs = _pattern(exclude)
    waiting = [folder]
    while waiting:  # no recursion, since folders may be nested to any depth
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError:
            continue
        below = sorted(name for name, is_folder in names.items() if is_folder)
        marker = marker_of(path) if _HINTS.intersection(names) else ""
        if marker:
            yield path
        if _STORE.issubset(names):  # another store, or a moved one
            continue
        if passed is not None:
            passed += [Passed(f"{path}/{name}", why) for name, why in _PASSED.items() if name in below]
            if "site-packages" in below and not marker:
                passed.append(Passed(f"{path}/site-packages", "of no environment"))
            if marker == CONDA and "pkgs" in below:
                passed.append(Passed(f"{path}/pkgs", "conda's cache"))
        if marker:  # conda's base environment contains the others
            below = [name for name in below if name == "envs" and marker == CONDA]
        children = [f"{path.rstrip('/')}/{name}" for name in reversed(below) if name not in _NEVER]
        waiting += [
            child
            for child in children
            if child != leave_out and not child.endswith(_LAYERS) and not globs(f"{child}/")
        ]


def _pattern(globs: Sequence[str]) -> Callable[[str], object]:
    """Return the pattern for paths of folders, with a slash at their end, that one of *globs* matches.

    ``*`` matches slashes, too. A glob without a slash is a name in any folder. A glob with a slash (or
    ``~/``) at its beginning is a whole path, any other glob is the end of a path.
    """
    absolute = (os.path.expanduser(glob).rstrip("/") for glob in globs)
    rules = [fnmatch.translate(f"{glob if glob.startswith('/') else f'*/{glob}'}/") for glob in absolute]
    return re.compile("|".join(rules) or r"(?!)").match
