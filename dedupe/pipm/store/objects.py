"""Objects: every file's content once, named by its sha256."""

from __future__ import annotations

import os
import stat
from functools import cache

from pipm.core.digest import Digest
from pipm.errors import StoreError
from pipm.fs.share import ensure_folder

READ_ONLY = 0o444
READ_ONLY_EXECUTABLE = 0o555


@cache
def trusted_owners() -> frozenset[int]:
    """The users whose files in a store are believed: we ourselves and root."""
    return frozenset({0, os.geteuid()})


def object_mode(*, executable: bool) -> int:
    """The mode of a stored file: nobody writes to it in place."""
    return READ_ONLY_EXECUTABLE if executable else READ_ONLY


def parse_object(name: str) -> tuple[Digest, bool] | None:
    """Read ``objects/ab/cdef…[-x]``: the digest, and whether it is executable; None where it is neither."""
    text = name.removeprefix("objects/").replace("/", "")
    try:
        return Digest.from_hex(text.removesuffix("-x")), text.endswith("-x")
    except ValueError:
        return None


def find_object(objects: int, name: str) -> os.stat_result | None:
    """Look an object up by its name below the folder *objects*."""
    try:
        return os.stat(name, dir_fd=objects, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_sound(status: os.stat_result, digest: Digest) -> bool:
    """Whether an object's metadata speaks for it: a changed file has another mtime.

    No proof of its bytes; those are compared when a file is shared. Files of other users than us and
    root are not trusted.
    """
    return (
        status.st_mtime_ns == digest.mtime_ns
        and stat.S_ISREG(status.st_mode)
        and status.st_uid in trusted_owners()
    )


def altered(path: str) -> StoreError:
    """The store's file *path* (below ``v1/``) was written to: nobody else shall get that."""
    return StoreError(
        f"The store's file {path} was changed in place",
        hint="pipm verify --full --repair mends it; before you patch a package: pipm release --dist NAME",
    )


class Rooms:
    """The folders ``objects/00`` to ``ff``, made when the first object of theirs comes."""

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._made: set[str] = set()

    def make(self, name: str) -> None:
        """Make the folder of the object *name*."""
        room = name[:2]
        if room not in self._made:
            ensure_folder(self._objects, room, 0o700)
            self._made.add(room)
