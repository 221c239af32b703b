"""Reading and writing the files of a remote, wherever it is.

Packs are named by their content and never change. An index is written last, and only over the one that was
read (compare and swap), so of two pushes at once none loses what the other wrote.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

LARGEST_INDEX = 256 << 20
"""Bytes of an index, before it is unpacked."""


class Version(NamedTuple):
    """The state of a file that was read, as its place names it; None: it was not there."""

    tag: str | None


class Transport(Protocol):
    """The files of a remote. Every method raises RemoteError where the place cannot be reached."""

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """Return the small file *name* and its version; None where there is none."""

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return *length* bytes of the file *name* from *start*; RemoteError where they are not there."""

    def check_writable(self) -> None:
        """Raise UsageError where nothing can ever be written."""

    def has(self, name: str) -> bool:
        """Whether there is a file *name*."""

    def write(self, name: str, data: bytes) -> None:
        """Write the file *name*; one that is there has the same bytes."""

    def swap(self, name: str, data: bytes, seen: Version) -> bool:
        """Replace the file *name* if it still is what was *seen*; whether that was so."""
