"""Checking the paths of an entry that comes from an archive or a remote."""

from __future__ import annotations

import os
import unicodedata

from pipm.wheel.reserved import reserved_path

_LONGEST_PART = 255
"""Maximum bytes of a file name, on nearly all file systems."""
_LONGEST_PATH = 2048
_ODD_PARTS = frozenset({"", ".", ".."})
_DEEPEST = 100
"""Maximum depth of folders. Real wheels have far fewer; a path of 4096 bytes could have 2 000."""


def name_refusal(name: str) -> str | None:
    """Return the reason why a wheel may not contain a file *name*; None if it may."""
    parts = name.rstrip("/").split("/")
    odd = "\\" in name or ":" in parts[0] or not name.isprintable()
    if odd or not _ODD_PARTS.isdisjoint(parts):
        return "is not a valid name in a wheel"
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_PATH or max(map(len, encoded.split(b"/"))) > _LONGEST_PART:
        return "is too long for a file name"
    return f"is in more than {_DEEPEST} nested folders" if len(parts) > _DEEPEST else None


def folded(path: str) -> str:
    """Return *path* normalised for file systems that ignore case and Unicode composition."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


class EntryPaths:
    """Checks the paths of one entry (``site/…``, ``scripts/…``), one after the other."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()

    def refusal(self, path: str) -> str | None:
        """Return the reason why the entry cannot also have *path*; None adds the path to the entry."""
        name = folded(path)
        why = reserved_path(name)
        if why is not None:
            return why
        folder = name.rpartition("/")[0]
        above = () if folder in self._folders else _folders(name)
        if name in self._taken or name in self._folders or not self._taken.isdisjoint(above):
            return "has the same path as another member"
        self._taken.add(name)
        self._folders.update(above)
        return None


def _folders(path: str) -> list[str]:
    """Return all folders above *path*."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]
