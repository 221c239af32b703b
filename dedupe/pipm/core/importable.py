"""Which files of a distribution Python imports: the store keeps those read-only.

So an editor asks before it changes a file that all environments share. All other files (data, templates,
``.py`` files in folders that are no packages) keep their owner's write permission, because programs copy
templates with their mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

_MODULES = (".py", ".so", ".pyd")
_INITIAL = "__init__."


def packages_in(paths: Iterable[str]) -> frozenset[str]:
    """Return the folders of *paths* (relative to site-packages) that are packages, all their parents too."""
    initial = set()
    for path in paths:
        folder, slash, name = path.rpartition("/")
        if slash and name.startswith(_INITIAL) and name.endswith(_MODULES):
            initial.add(folder)
    packages: set[str] = set()
    for folder in sorted(initial, key=lambda folder: folder.count("/")):
        parent = folder.rpartition("/")[0]
        if not parent or parent in packages:
            packages.add(folder)
    return frozenset(packages)


def is_importable(path: str, packages: AbstractSet[str]) -> bool:
    """Return whether Python imports the file *path* (relative to site-packages), given the *packages*."""
    folder = path.rpartition("/")[0]
    return path.endswith(_MODULES) and (not folder or folder in packages)
