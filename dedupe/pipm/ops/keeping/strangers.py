"""Files among an entry's that neither its wheel nor pipm brought: programs left them there.

Whoever reads the store's folders may write there, too, as the owner of the store: a child without the finder
that keeps its bytecode, pytest its rewritten modules, numba its machine code, a package its own settings.
Caches are believed by nobody but who left them (the finder believes bytecode of the store alone) and go at
the next collection. Anything else every environment of the entry would see.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.record import source_of_bytecode
from pipm.fs.restore import rename_over
from pipm.fs.share import NewFile, ensure_folder, forget
from pipm.store.layout import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pipm.core.manifest import Manifest
    from pipm.store.layout import Store

_CACHE = "__pycache__"
_TREES = ("site", "data", "headers", "scripts")


class Stranger(NamedTuple):
    """One such file: the entry (below ``wheels/``), the path in it, and whether it is a mere cache."""

    entry: str
    path: str
    is_cache: bool

    @property
    def name(self) -> str:
        """Its path below ``v1/``."""
        return f"wheels/{self.entry}/{self.path}"


def strangers(store: Store, manifests: Iterable[tuple[str, Manifest]]) -> Iterator[Stranger]:
    """Find the strangers among the files of entries with these manifests."""
    for entry, manifest in manifests:
        known = {file.path for file in manifest.files}
        base = f"{store.path}/{VERSION}/wheels/{entry}"
        for tree in _TREES:
            for folder, name in _files(f"{base}/{tree}", tree):
                path = f"{folder}/{name}"
                if folder.endswith(f"/{_CACHE}"):
                    if path not in known and _is_foreign(f"{base}/{folder}", name):
                        yield Stranger(entry, path, is_cache=True)
                elif path not in known:
                    yield Stranger(entry, path, is_cache=False)


def stray_caches(v1: str, trees: Iterable[str], pooled: Collection[int]) -> Iterator[str]:
    """Find files in the caches of *trees* that are not the store's, as paths below ``v1/``.

    *pooled* are the inodes of the store's bytecode, which need no closer look.
    """
    for tree in trees:
        for folder in _caches(f"{v1}/{tree}", tree):
            with os.scandir(f"{v1}/{folder}") as scan:
                names = [entry.name for entry in scan if entry.inode() not in pooled]
            yield from (f"{folder}/{name}" for name in names if _is_foreign(f"{v1}/{folder}", name))


def put_aside(store: Store, stranger: Stranger, place: str) -> str:
    """Move a stranger into the folder *place* of the store; returns where it is now."""
    shown = stranger.name.replace("/", "-")
    folder = os.open(store.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ensure_folder(folder, place, 0o700)
        rename_over(NewFile(store.v1, stranger.name), folder, f"{place}/{shown}")
        forget(store.v1, stranger.name)
    finally:
        os.close(folder)
    return f"{store.path}/{place}/{shown}"


def _is_foreign(cache: str, name: str) -> bool:
    """Whether a file in the folder *cache* is no bytecode of ours, whose time is that of its source."""
    try:
        status = os.lstat(f"{cache}/{name}")
        source = os.stat(f"{os.path.dirname(cache)}/{source_of_bytecode(name) or name}")
    except FileNotFoundError:
        return True
    ours = name.endswith(".pyc") and status.st_mtime_ns == source.st_mtime_ns
    return not ours and not stat.S_ISDIR(status.st_mode)


def _files(path: str, shown: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, name) of all that is no folder below *path*, whose name is *shown*."""
    for folder, _, names in os.walk(path):
        for name in names:
            yield f"{shown}{folder[len(path) :]}", name


def _caches(path: str, shown: str) -> Iterator[str]:
    for folder, folders, _ in os.walk(path):
        if _CACHE in folders:
            yield f"{shown}{folder[len(path) :]}/{_CACHE}"
