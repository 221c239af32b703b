"""Counting what a run did, in files and in bytes that really came free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from dedupe.core.reasons import Reason


class Left(NamedTuple):
    """A file (path relative to the environment) that stayed as it was."""

    path: str
    reason: Reason


@dataclass(slots=True)
class Tally:
    """What became of files, and the balance of blocks.

    All bytes are blocks on disk but ``bytes_shared``, which sums sizes. ``linked`` counts replaced
    names of inodes that have more: their blocks come free with the last name only.
    """

    files: int = 0
    shared: int = 0
    already: int = 0
    bytes_shared: int = 0
    freed: int = 0
    taken: int = 0
    inodes: int = 0
    left: list[Left] = field(default_factory=list)
    linked: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)

    def leave(self, path: str, reason: Reason) -> None:
        """Count a file that stays as it was."""
        self.left.append(Left(path, reason))

    def replaced(self, old: os.stat_result) -> None:
        """Count that one name of the inode *old* went to another inode."""
        blocks = old.st_blocks * 512
        if old.st_nlink == 1:
            self.freed += blocks
            self.inodes -= 1
            return
        key = (old.st_dev, old.st_ino)
        names, gone, _ = self.linked.get(key, (old.st_nlink, 0, blocks))
        self.linked[key] = (max(names, old.st_nlink), gone + 1, blocks)

    def created(self, status: os.stat_result) -> None:
        """Count a new inode with its blocks."""
        self.taken += status.st_blocks * 512
        self.inodes += 1

    def settle(self) -> None:
        """Turn the inodes of which every name was replaced into freed blocks."""
        for names, gone, blocks in self.linked.values():
            if gone >= names:
                self.freed += blocks
                self.inodes -= 1
        self.linked = {}


def summed(tallies: Iterable[Tally]) -> Tally:
    """Add the tallies of several workers up."""
    total = Tally()
    for tally in tallies:
        total.files += tally.files
        total.shared += tally.shared
        total.already += tally.already
        total.bytes_shared += tally.bytes_shared
        total.freed += tally.freed
        total.taken += tally.taken
        total.inodes += tally.inodes
        total.left += tally.left
        for key, (names, gone, blocks) in tally.linked.items():
            known, before, _ = total.linked.get(key, (names, 0, blocks))
            total.linked[key] = (max(known, names), before + gone, blocks)
    total.settle()
    return total
