"""Which paths an entry may have, whoever brings it: an archive or a remote."""

from __future__ import annotations

import os
import unicodedata

from pipm.wheel.reserved import reserved_path

_LONGEST_PART = 255
"""Bytes of a file's name, on nearly all file systems."""
_LONGEST_PATH = 2048
_DEEPEST = 100
"""Folders that a member lies in. No real wheel comes near; a path of 4096 bytes may have 2 000."""


def name_refusal(name: str) -> str | None:
    """Say why no file of a wheel may be called *name*; None where one may."""
    parts = name.rstrip("/").split("/")
    odd = "\\" in name or ":" in parts[0] or not name.isprintable()
    if odd or any(part in ("", ".", "..") for part in parts):
        return "is not a name that a wheel may have"
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_PATH or max(map(len, encoded.split(b"/"))) > _LONGEST_PART:
        return "is longer than a file's name can be"
    return f"lies in more than {_DEEPEST} folders" if len(parts) > _DEEPEST else None


def folded(path: str) -> str:
    """*path* as a file system sees it that tells neither case nor composed characters apart."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


class EntryPaths:
    """The paths of one entry (``site/…``, ``scripts/…``), one after the other."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()

    def refusal(self, path: str) -> str | None:
        """Say why the entry cannot have *path*, too; None where it can, and has it from now on."""
        name = folded(path)
        why = reserved_path(name)
        if why is not None:
            return why
        above = _folders(name)
        if name in self._taken or name in self._folders or not self._taken.isdisjoint(above):
            return "lands where another member lands"
        self._taken.add(name)
        self._folders.update(above)
        return None


def _folders(path: str) -> list[str]:
    """Return all folders that *path* lies in."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]
