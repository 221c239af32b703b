"""Reading and writing the files of a remote, wherever it is.

Packs are named by their content and never change. An index is written last, and only over the one that was
read (compare and swap), so of two pushes at once none loses what the other wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST_INDEX = 256 << 20
"""Bytes of an index, before it is unpacked."""


class Version(NamedTuple):
    """The state of a file that was read, as its place names it; None: it was not there."""

    tag: str | None


class StoredFile(NamedTuple):
    """A file that lies in a remote: when it was written (seconds since 1970), and its bytes."""

    name: str
    modified: float
    size: int


class Transport(Protocol):
    """The files of a remote. Every method raises RemoteError where the place cannot be reached."""

    def read(self, name: str) -> tuple[list[bytes], Version]:
        """Return the index *name* and its version.

        It may be several, of pushes at once, where nothing compares and swaps: together they are the index.
        """

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return *length* bytes of the file *name* from *start*; RemoteError where they are not there."""

    def check_writable(self) -> None:
        """Raise UsageError where nothing can ever be written."""

    def modified(self, name: str) -> float | None:
        """Return when the pack *name* was written; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write the pack *name*; one that is there has the same bytes."""

    def swap(self, name: str, data: bytes, seen: Version, packs: Mapping[str, int]) -> bool:
        """Replace the index *name* if it still is what was *seen*; whether that was so.

        *packs* are those that it names, with their sizes.
        """

    def stored(self) -> list[StoredFile]:
        """Return all indexes and packs; nothing where the place itself removes what no index names."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove packs; one that is not there any more is removed."""
