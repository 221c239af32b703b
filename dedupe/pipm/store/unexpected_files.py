"""Files in entries that come neither from the wheel nor from pipm, but from other programs.

Programs of the store's owner can write to its folders: bytecode, pytest's rewritten modules, numba's machine
code, a package's settings. A cache is used only by the program that wrote it, and gc removes it. But any
other file would appear in all environments of the entry.
"""

from __future__ import annotations

import os
import stat
from importlib.machinery import BYTECODE_SUFFIXES, SOURCE_SUFFIXES
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.bytecode import bytecode_mtime_ns, header_time
from pipm.core.record import source_of_bytecode
from pipm.errors import StoreError
from pipm.fs.opened import opened_folder
from pipm.fs.restore_files import rename_over
from pipm.fs.share_file import NewFile, ensure_folder, forget
from pipm.fs.walk_tree import walk_entries
from pipm.store.entries import MODULES, load_manifest
from pipm.store.layout import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pipm.core.manifest import Manifest
    from pipm.store.layout import Store

_CACHE = "__pycache__"
_CODE = (*SOURCE_SUFFIXES, *BYTECODE_SUFFIXES, ".so", ".pyd")
_NAMED = MODULES.partition("/")[0]
"""The tree of symlinks to modules: other files in it are unexpected."""
_TREES = ("site", "data", "headers", "scripts", _NAMED)


class UnexpectedFile(NamedTuple):
    """An unexpected file: its entry (below ``wheels/``), its path there, and whether it is a cache."""

    entry: str
    path: str
    is_cache: bool

    @property
    def is_code(self) -> bool:
        """True if Python would import it."""
        return (
            not self.is_cache and self.path.startswith(("site/", f"{_NAMED}/")) and self.path.endswith(_CODE)
        )

    @property
    def name(self) -> str:
        """Its path below ``v1/``."""
        return f"wheels/{self.entry}/{self.path}"


def unexpected_files(store: Store, manifests: Iterable[tuple[str, Manifest]]) -> Iterator[UnexpectedFile]:
    """Find unexpected files in the entries with these manifests."""
    for entry, manifest in manifests:
        known = {file.path for file in manifest.files}
        base = f"{store.path}/{VERSION}/wheels/{entry}"
        for tree in _TREES:
            for folder, name in _files(f"{base}/{tree}", tree):
                path = f"{folder}/{name}"
                if folder.endswith(f"/{_CACHE}"):
                    if path not in known and _is_foreign(f"{base}/{folder}", name):
                        yield UnexpectedFile(entry, path, is_cache=True)
                elif path not in known:
                    yield UnexpectedFile(entry, path, is_cache=False)


def find_unexpected(
    store: Store, entries: Iterable[str], stored: Collection[int]
) -> tuple[list[str], list[UnexpectedFile]]:
    """Find unexpected files in *entries*, for gc: caches (as paths below ``v1/``), and data.

    *stored* are the inodes of the store's objects and bytecode; such files are never unexpected. Modules, and
    files that may be an entry's own, are not returned: `verify` finds them.
    """
    caches: list[str] = []
    data: list[UnexpectedFile] = []
    for entry in entries:
        found = [
            (folder, name)
            for tree in _TREES
            for folder, name, inode in _inodes(f"{store.path}/{VERSION}/wheels/{entry}/{tree}", tree)
            if inode not in stored
        ]
        base = f"{store.path}/{VERSION}/wheels/{entry}"
        rest = [
            (folder, name)
            for folder, name in found
            if not folder.endswith(f"/{_CACHE}") and not _is_empty(f"{base}/{folder}/{name}")
        ]
        caches += [
            f"wheels/{entry}/{folder}/{name}"
            for folder, name in found
            if folder.endswith(f"/{_CACHE}") and _is_foreign(f"{base}/{folder}", name)
        ]
        data += _unknown(store, entry, rest) if rest else ()
    return caches, data


def _unknown(store: Store, entry: str, files: Iterable[tuple[str, str]]) -> list[UnexpectedFile]:
    try:
        known = {file.path for file in load_manifest(store, entry).files}
    except StoreError:
        return []
    found = [UnexpectedFile(entry, f"{folder}/{name}", is_cache=False) for folder, name in files]
    return [one for one in found if one.path not in known and not one.is_code]


def _is_empty(path: str) -> bool:
    """Return whether the file at *path* is empty or missing; empty files are not objects."""
    try:
        return not os.lstat(path).st_size
    except FileNotFoundError:
        return True


EDITED = "edited"
"""The folder of the store for changed and unexpected files that belong to no known environment."""


def quarantine(store: Store, unexpected_file: UnexpectedFile) -> str:
    """Move an unexpected file into the folder `EDITED` of the store; return its new path."""
    shown = unexpected_file.name.replace("/", "-")
    while os.path.lexists(f"{store.path}/{EDITED}/{shown}"):  # an older file stays
        shown = f"{os.urandom(4).hex()}-{unexpected_file.name.replace('/', '-')}"
    with opened_folder(store.path) as folder:
        ensure_folder(folder, EDITED, 0o700)
        rename_over(NewFile(store.v1, unexpected_file.name), folder, f"{EDITED}/{shown}")
        forget(store.v1, unexpected_file.name)
    return f"{store.path}/{EDITED}/{shown}"


def _is_foreign(cache: str, name: str) -> bool:
    """Return whether a file in the folder *cache* is not pipm's bytecode, which has its source's time."""
    try:
        status = os.lstat(f"{cache}/{name}")
        source = os.stat(f"{os.path.dirname(cache)}/{source_of_bytecode(name) or name}")
    except FileNotFoundError:
        return True
    expected = bytecode_mtime_ns(header_time(source.st_mtime_ns))
    ours = name.endswith(".pyc") and status.st_mtime_ns == expected
    return not ours and not stat.S_ISDIR(status.st_mode)


def _files(path: str, shown: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, name) of each file below *path*; *shown* is the name of *path* itself."""
    for folder, _, names in os.walk(path):
        for name in names:
            if shown != _NAMED or not os.path.islink(f"{folder}/{name}"):
                yield f"{shown}{folder[len(path) :]}", name


def _inodes(path: str, shown: str) -> Iterator[tuple[str, str, int]]:
    """Yield (folder, name, inode) of each file below *path*; one readdir for each folder, no stat."""
    for folder, entry in walk_entries(path, shown):
        if shown != _NAMED or not entry.is_symlink():
            yield folder, entry.name, entry.inode()
