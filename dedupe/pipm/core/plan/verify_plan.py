"""Comparing stored files with their manifest."""

from __future__ import annotations

import stat
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

    from pipm.core.digest import Digest


class Flaw(Enum):
    """The fault of a stored file."""

    MISSING = "is missing"
    KIND = "is not a regular file"
    OWNER = "belongs to another user"
    CONTENT = "differs from its digest"
    TIME = "has another time than when it was stored"
    MODE = "has other permissions"
    ATTRIBUTES = "has extended attributes, an ACL or capabilities"
    INODE = "is one inode with another stored file"
    UNEXPECTED = "is not of its wheel"


class ExpectedFile(NamedTuple):
    """The expected state of a stored file; without a manifest all but the digest is None.

    ``executable`` and ``writable`` are the kind of its object.
    """

    digest: Digest
    size: int | None
    executable: bool
    writable: bool
    mode: int | None
    mtime_ns: int | None

    @property
    def object_name(self) -> str:
        """Path of the object below the store's ``objects/``."""
        return self.digest.object_name(executable=self.executable, writable=self.writable)


def is_suspicious(expected: ExpectedFile, status: os.stat_result) -> bool:
    """Return whether the stat of a regular file suggests that its content changed."""
    return expected.mtime_ns not in (None, status.st_mtime_ns) or expected.size not in (None, status.st_size)


def judge_file(
    expected: ExpectedFile, status: os.stat_result | None, actual: Digest | None, owners: frozenset[int]
) -> Flaw | None:
    """Return the flaw of a file, if any; *actual* is its digest, None if it was not read."""
    if status is None:
        return Flaw.MISSING
    if not stat.S_ISREG(status.st_mode):
        return Flaw.KIND
    if actual is not None and actual != expected.digest:
        return Flaw.CONTENT
    if status.st_uid not in owners:
        return Flaw.OWNER
    if expected.mode not in (None, stat.S_IMODE(status.st_mode)):
        return Flaw.MODE
    return Flaw.TIME if expected.mtime_ns not in (None, status.st_mtime_ns) else None


class Sharer(NamedTuple):
    """A file of an environment with the same wrong bytes as a stored one; often it is the same inode."""

    environment: str
    same_inode: bool


def is_private_edit(expected: ExpectedFile, status: os.stat_result, sharers: list[Sharer]) -> bool:
    """Return whether the changed bytes are one environment's edit, and stay with it.

    An edit changes the time; a bit that flipped on the disk does not. If two environments have the inode,
    it is unknown which one made the edit.
    """
    if status.st_mtime_ns == expected.mtime_ns:
        return False
    return sum(sharer.same_inode for sharer in sharers) == 1
