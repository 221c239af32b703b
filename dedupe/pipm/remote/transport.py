"""The interface to read and write the files of a remote.

The names of packs are their digests; packs never change. A push writes its index last, and only over the
one that it read (compare and swap), so two pushes at once lose nothing of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST_INDEX = 256 << 20
"""The most bytes of a compressed index."""


class Version(NamedTuple):
    """The version of a file when it was read, as the remote names it; None: there was no file."""

    tag: str | None


class StoredFile(NamedTuple):
    """A file in a remote: when it was written (seconds since 1970), and its bytes."""

    name: str
    modified: float
    size: int


class Transport(Protocol):
    """The files of a remote. Every method raises RemoteError if it cannot reach the remote."""

    def read(self, name: str) -> tuple[list[bytes], Version]:
        """Return the index *name* and its version.

        A remote without compare and swap may have several, of pushes at once: together they are the index.
        """

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return *length* bytes of the file *name* from *start*; raise RemoteError if they are missing."""

    def check_writable(self) -> None:
        """Raise UsageError if nothing can ever be written."""

    def modified(self, name: str) -> float | None:
        """Return when the pack *name* was written, or None if it does not exist."""

    def write(self, name: str, data: bytes) -> None:
        """Write the pack *name*; an existing one has the same bytes."""

    def swap(self, name: str, data: bytes, seen: Version, packs: Mapping[str, int]) -> bool:
        """Replace the index *name* if it still is the *seen* version; return whether it was.

        *packs* are those that the index names, with their sizes.
        """

    def stored(self) -> list[StoredFile]:
        """Return all indexes and packs; nothing if the remote itself removes packs that no index names."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove packs; ignore those that are gone."""
