"""Bytes of disk, never mixed up: apparent, on disk, shared, exclusive, reclaimable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskUsage:
    """Bytes that a tree takes.

    ``apparent`` sums file sizes, ``on_disk`` sums blocks (each inode and each extent once),
    ``exclusive`` is what deleting the tree would free; the rest of ``on_disk`` is shared.
    """

    apparent: int = 0
    on_disk: int = 0
    exclusive: int = 0
    files: int = 0

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
        )
