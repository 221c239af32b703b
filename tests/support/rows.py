"""Rows of manifests for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.manifest import FileEntry

if TYPE_CHECKING:
    from pipm.core.digest import Digest

TIME_NS = 1_700_000_000_123_456_789


def row(path: str, digest: Digest, size: int, *, executable: bool = False) -> FileEntry:
    """A read-only file of the store."""
    return FileEntry(path, digest, size, executable, False, 0o555 if executable else 0o444, TIME_NS)
