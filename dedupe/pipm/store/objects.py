"""Objects: each content once, named by its sha256."""

from __future__ import annotations

import os
import stat
from functools import cache

from pipm.core.digest import Digest
from pipm.errors import StoreError
from pipm.fs.share_file import ensure_folder

_MODES = (0o444, 0o644, 0o555, 0o755)
"""The modes of objects; the index is 2 * executable + writable."""


@cache
def trusted_owners() -> frozenset[int]:
    """Return the users whose files in a store are trusted: this user and root."""
    return frozenset({0, os.geteuid()})


def object_mode(*, executable: bool, writable: bool = False) -> int:
    """Return the mode of a stored file; files that Python imports are read-only."""
    return _MODES[2 * executable + writable]


def parse_object(name: str) -> tuple[Digest, bool, bool] | None:
    """Read ``objects/ab/cdef…[-xw]``: digest, executable, writable; None if it is not an object's name."""
    text, _, kind = name.removeprefix("objects/").replace("/", "").partition("-")
    try:
        digest = Digest.from_hex(text)
    except ValueError:
        return None
    parsed = (digest, "x" in kind, "w" in kind)
    known = digest.object_name(executable=parsed[1], writable=parsed[2]).replace("/", "")
    return parsed if name.removeprefix("objects/").replace("/", "") == known else None


def find_object(objects: int, name: str) -> os.stat_result | None:
    """Return the stat of the object *name* below the folder *objects*; None if it is missing."""
    try:
        return os.stat(name, dir_fd=objects, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_trusted(status: os.stat_result) -> bool:
    """Return whether an object is a regular file of a trusted user; its bytes are not checked."""
    return stat.S_ISREG(status.st_mode) and status.st_uid in trusted_owners()


def altered(path: str) -> StoreError:
    """Return the error for a file *path* (below ``v1/``) of the store that was changed in place."""
    return StoreError(
        f"The store's file {path} was changed in place",
        hint="pipm verify --full --repair repairs it; before you patch a package: pipm release --dist NAME",
    )


class ObjectFolders:
    """The folders ``objects/00`` to ``objects/ff``; each is made before its first object."""

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._made: set[str] = set()

    def make(self, name: str) -> None:
        """Make the folder of the object *name*."""
        room = name[:2]
        if room in self._made:
            return
        if not self._made:
            self._made.update(os.listdir(self._objects))
        if room not in self._made:
            ensure_folder(self._objects, room, 0o700)
            self._made.add(room)
