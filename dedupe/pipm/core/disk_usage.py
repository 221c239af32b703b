"""Kinds of disk usage: apparent, on disk, shared, exclusive, reclaimable."""

from __future__ import annotations

from dataclasses import dataclass


def is_rough(estimated: int, figure: int) -> bool:
    """Return whether a *figure*, with *estimated* bytes known within a tenth, may be wrong by a hundredth."""
    return estimated * 10 > figure


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskUsage:
    """Bytes that a tree takes.

    ``apparent`` sums file sizes, ``on_disk`` sums blocks (each inode and each extent once), ``exclusive``
    is the space that deleting the tree would free; the rest of ``on_disk`` is shared. ``estimated`` of the
    exclusive bytes are in the file system's own trees, whose leaves are not always full: up to a tenth of
    them is an estimate.
    """

    apparent: int = 0
    on_disk: int = 0
    exclusive: int = 0
    files: int = 0
    estimated: int = 0

    @property
    def about(self) -> bool:
        """True if ``exclusive`` may be wrong by more than one hundredth."""
        return is_rough(self.estimated, self.exclusive)

    @property
    def shared(self) -> int:
        """Bytes on disk that something outside the tree uses too."""
        return self.on_disk - self.exclusive

    def __add__(self, other: DiskUsage) -> DiskUsage:
        return DiskUsage(
            apparent=self.apparent + other.apparent,
            on_disk=self.on_disk + other.on_disk,
            exclusive=self.exclusive + other.exclusive,
            files=self.files + other.files,
            estimated=self.estimated + other.estimated,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounting:
    """The bytes that a file takes on a file system in addition to the blocks that stat(2) counts.

    ``made`` and ``gone``: an inode more, an inode fewer; ``name``: one more name of a file, where hashes are
    names; ``entry``: the same in a tree, where neighbours come one after the other; ``reference``: one more
    file that shares blocks; ``extent``: what keeps the place and checksums of blocks of one's own;
    ``inline``: the size up to which a file's bytes lie in the metadata, which are kept twice; ``chunk``: how
    many inodes of consecutive numbers come, and go, together; ``whole``: an inode of a tree that comes or
    goes as a whole; ``letter``: each letter of a name past 16.
    """

    made: int = 0
    gone: int = 0
    name: int = 0
    entry: int = 0
    reference: int = 0
    extent: int = 0
    inline: int = 0
    chunk: int = 0
    whole: int = 0
    letter: int = 0

    @property
    def packed(self) -> bool:
        """True if inodes, names and small files are in trees; their leaves are not always full."""
        return self.inline > 0

    @property
    def exact(self) -> bool:
        """True if a file needs only its blocks; otherwise its metadata is estimated."""
        return not self.made

    def entry_of(self, letters: int) -> int:
        """Bytes of a name of so many *letters* in a tree."""
        return self.entry + max(letters - 16, 0) * self.letter

    def solid(self, size: int, blocks: int) -> int:
        """Bytes of blocks that are the file's own, as *data* counts it, beside those in trees."""
        return 0 if size <= self.inline else blocks * 512

    def data(self, size: int, blocks: int) -> int:
        """Bytes that the content of a file takes, which has *size* bytes in *blocks* of 512 bytes."""
        return 2 * size if size <= self.inline else blocks * 512
