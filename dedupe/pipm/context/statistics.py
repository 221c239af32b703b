"""Counting the files that a run shared and the bytes that it freed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.disk_usage import Accounting

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pipm.core.reasons import Reason


class SkippedFile(NamedTuple):
    """A file (path relative to the environment) that stayed as it was."""

    path: str
    reason: Reason


@dataclass(slots=True)
class Statistics:
    """Numbers of files by outcome, and the balance of bytes on disk.

    ``bytes_shared`` is the sum of sizes. ``freed`` and ``taken`` are bytes of content and folders. ``made``
    and ``gone`` count inodes, ``names`` names outside of entries, ``entries`` names in entries, and
    ``references`` files that share blocks. With ``at_most`` the real bytes are fewer by an unknown amount,
    because of compression. ``linked`` counts the replaced names of inodes with several names: the last one
    frees the inode. ``seconds`` is the time of the work.
    """

    accounting: Accounting = field(default_factory=Accounting)
    files: int = 0
    shared: int = 0
    already: int = 0
    ingested: int = 0
    bytes_shared: int = 0
    freed: int = 0
    taken: int = 0
    made: int = 0
    gone: int = 0
    names: int = 0
    entries: int = 0
    references: int = 0
    seconds: float = 0.0
    at_most: bool = False
    left: list[SkippedFile] = field(default_factory=list)
    linked: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        """The change of the file system's free bytes; negative if it has less than before."""
        account = self.accounting
        inodes = self.made * account.made - self.gone * account.gone
        names = self.names * account.name + self.entries * account.entry
        return self.freed - self.taken - inodes - names - self.references * account.reference

    def leave(self, path: str, reason: Reason) -> None:
        """Count a skipped file."""
        self.left.append(SkippedFile(path, reason))

    def replaced(self, old: os.stat_result) -> None:
        """Count a name of the inode *old* that now has another inode."""
        data = self.accounting.data(old.st_size, old.st_blocks)
        if old.st_nlink == 1:
            self.freed += data
            self.gone += 1
            return
        key = (old.st_dev, old.st_ino)
        names, replaced, _ = self.linked.get(key, (old.st_nlink, 0, data))
        self.linked[key] = (max(names, old.st_nlink), replaced + 1, data)

    def created(self, status: os.stat_result) -> None:
        """Count a new file with its content and its name."""
        self.taken += self.accounting.data(status.st_size, status.st_blocks)
        self.made += 1
        self.names += 1

    def cloned(self, status: os.stat_result) -> None:
        """Count a reflinked copy of a file: only its inline content takes space again."""
        if status.st_size <= self.accounting.inline:
            self.taken += self.accounting.data(status.st_size, status.st_blocks)
        self.made += 1
        self.names += 1

    def deduplicated(self, freed: int) -> None:
        """Count a file that shares the blocks of another one now, which freed *freed* bytes of its own."""
        self.freed += freed
        self.references += freed > 0

    def add(self, other: Statistics) -> None:
        """Add the numbers of *other*."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, (names, replaced, data) in other.linked.items():
            known, before, _ = self.linked.get(key, (names, 0, data))
            self.linked[key] = (max(known, names), before + replaced, data)


def count_freed_inodes(all_statistics: Sequence[Statistics]) -> None:
    """Count inodes without remaining names as freed, for the last environment that had one."""
    linked: dict[tuple[int, int], list[tuple[Statistics, int, int, int]]] = {}
    for statistics in all_statistics:
        for key, (names, replaced, data) in statistics.linked.items():
            linked.setdefault(key, []).append((statistics, names, replaced, data))
        statistics.linked = {}
    for several in linked.values():
        if sum(replaced for _, _, replaced, _ in several) >= max(names for _, names, _, _ in several):
            last, _, _, data = several[-1]
            last.freed += data
            last.gone += 1


def count_folders(all_statistics: Sequence[Statistics], grown: int, reserve: int = 0) -> None:
    """Distribute the growth of the store's folders over environments, by the files that each added.

    The first one pays the *reserve* of a new store.
    """
    added = sum(statistics.ingested for statistics in all_statistics)
    rest = grown
    for statistics in all_statistics:
        share = grown * statistics.ingested // added if added else 0
        statistics.taken += share
        rest -= share
    if all_statistics:
        all_statistics[0].taken += rest + reserve


_SUMMED = (
    *("files", "shared", "already", "ingested", "bytes_shared", "freed", "taken"),
    *("made", "gone", "names", "entries", "references", "left", "seconds"),
)
