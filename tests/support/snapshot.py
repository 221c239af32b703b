"""The content of a tree, to compare it before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A name: its kind, its content, whether it is executable, and its target."""

    kind: str
    digest: str = ""
    executable: bool = False
    target: str = ""


Snapshot = dict[str, Entry]


def file_digest(path: str) -> str:
    """Return the sha256 of a file's bytes in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(tree: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder without following a symbolic link."""
    with os.scandir(tree) as rows:
        for row in rows:
            yield row
            if row.is_dir(follow_symlinks=False):
                yield from walk(row.path)


def _entry(row: os.DirEntry[str]) -> Entry:
    status = row.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return Entry(kind="link", target=os.readlink(row.path))
    if stat.S_ISDIR(status.st_mode):
        return Entry(kind="folder")
    if not stat.S_ISREG(status.st_mode):
        return Entry(kind="special")
    executable = bool(status.st_mode & stat.S_IXUSR)
    return Entry(kind="file", digest=file_digest(row.path), executable=executable)


def snapshot(tree: str) -> Snapshot:
    """Return what each name below a folder holds."""
    return {os.path.relpath(row.path, tree): _entry(row) for row in walk(tree)}


def is_bytecode(path: str) -> bool:
    """Tell whether a name is bytecode, or the folder of bytecode."""
    return path.endswith(".pyc") or os.path.basename(path) == "__pycache__"


def sources(taken: Snapshot) -> Snapshot:
    """Return the part of a snapshot which adopt and release must keep to the bit."""
    return {path: entry for path, entry in taken.items() if not is_bytecode(path)}


def bytecode(taken: Snapshot) -> Snapshot:
    """Return the bytecode of a snapshot."""
    return {path: entry for path, entry in taken.items() if path.endswith(".pyc")}


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Return a line for each name that differs, at most twenty."""
    names = sorted(before.keys() | after.keys())
    lines = [
        f"{name}: {before.get(name)} → {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return lines[:20]


def assert_kept(before: Snapshot, tree: str) -> None:
    """Check that every file but bytecode is as it was: content, names, bits, links."""
    assert difference(sources(before), sources(snapshot(tree))) == []


def assert_bytecode_names_kept(before: Snapshot, tree: str) -> None:
    """Check that bytecode neither came nor went."""
    assert sorted(bytecode(before)) == sorted(bytecode(snapshot(tree)))


Fingerprint = dict[str, tuple[object, ...]]


def fingerprint(tree: str) -> Fingerprint:
    """Return all that a change could touch: inode, mode, size, mtime and content of each name.

    A folder's own mtime is left out: a trial link that was taken back moves it.
    """
    rows: Fingerprint = {}
    for row in walk(tree):
        status = row.stat(follow_symlinks=False)
        name = os.path.relpath(row.path, tree)
        if row.is_dir(follow_symlinks=False):
            rows[name] = (status.st_ino, status.st_mode)
        else:
            entry = _entry(row)
            time, size = status.st_mtime_ns, status.st_size
            rows[name] = (status.st_ino, status.st_mode, size, time, entry.digest, entry.target)
    return rows


def changes(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return a line for each name whose fingerprint differs, at most twenty."""
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {before.get(name)} → {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ][:20]
