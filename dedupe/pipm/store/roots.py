"""Roots: one small file for each environment, synced before a file of the environment is replaced."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.sha256 import sha256
from pipm.errors import StoreError
from pipm.fs.beneath import directory_beneath
from pipm.fs.durability import Aside, Durability, SmallFile, write_aside, write_durably, write_together
from pipm.fs.walk_tree import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.store.layout import Store

FORMAT = 1
ADOPTING = "adopting"
ADOPTED = "adopted"
PARTLY = "partly"
SYNCING = "syncing"
SYNCED = "synced"
ORIGINALS = "originals"
"""The folder of the store with a file beside some roots: what was recorded of the environment's files."""
_BORROWING = ("finder", "symlink")


class Root(NamedTuple):
    """An environment that uses the store.

    ``device`` and ``inode`` are those of its ``pyvenv.cfg``: a copy of the environment is another one.
    ``changed`` is when that inode changed last (ns; 0: not noted): a copy may get the number of one that is
    gone.
    ``seen`` is in seconds since the epoch. ``state`` is ``adopting`` while a run is (or was, when it
    got killed) at work, then ``adopted``; ``partly`` after some distributions were released, or where a
    file could not be shared just then. ``syncing`` and ``synced`` are the same of an environment that follows
    the lock file at ``lock``; ``fingerprint`` is the digest of the lock's bytes and the options, ``content``
    that of the lock alone, and ``words`` are the options. ``missing`` is since when (in seconds)
    a collector has not found it; 0 while it is there. ``pending``: its bytecode is compiled later.
    ``released`` are names of distributions that stay its own until they are adopted by name.
    """

    path: str
    device: int
    inode: int
    python: str
    link_mode: str
    state: str
    entries: tuple[str, ...]
    seen: float
    lock: str = ""
    missing: float = 0.0
    fingerprint: str = ""
    content: str = ""
    words: tuple[str, ...] = ()
    changed: int = 0
    pending: bool = False
    released: tuple[str, ...] = ()

    @property
    def borrows(self) -> bool:
        """Whether it reads files below the store's path: only then gc could remove files that it needs."""
        return self.link_mode in _BORROWING

    @property
    def name(self) -> str:
        """The root's file name."""
        return root_name(self.path)


def root_name(path: str) -> str:
    """Name the root of the environment at the absolute *path*."""
    return sha256(os.fsencode(path)).hexdigest()[:32]


def write_root(store: Store, root: Root, durability: Durability = Durability.NOW) -> None:
    """Write *root*, durably unless a lesser *durability* will do.

    Entries that the old root named and *root* does not get the current time as their last use, for gc.
    """
    _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
    write_durably(store.roots, root.name, _document(root), durability)


def write_roots(store: Store, roots: Iterable[Root], others: Iterable[SmallFile] = ()) -> None:
    """Write several roots with one sync; after a power cut each is the old or the new one.

    *others* are files that belong to them, and have their names first.
    """
    files = []
    for root in roots:
        _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
        files.append(SmallFile(store.roots, root.name, _document(root)))
    write_together([*files, *others])  # it names the last one first


def prepare_root(store: Store, root: Root) -> Aside:
    """Write *root* aside; the caller syncs the store's file system before it is published."""
    _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
    return write_aside(store.roots, root.name, _document(root), synced=False)


def _document(root: Root) -> bytes:
    document = {"version": FORMAT, **root._asdict()}
    document["promise"] = document.pop("fingerprint")  # the format's word
    return json.dumps(document, indent=1).encode("ascii")


def remove_root(store: Store, path: str) -> None:
    """Forget the environment at *path*, durably."""
    _touch(store, _entries_before(store, root_name(path)))
    drop_root(store, path)


def drop_root(store: Store, path: str) -> None:
    """Forget the environment at *path* without a change of the last use of its entries."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(root_name(path), dir_fd=store.roots)
        os.fsync(store.roots)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{ORIGINALS}/{root_name(path)}", dir_fd=store.v1)


def _entries_before(store: Store, name: str) -> tuple[str, ...]:
    try:
        return _read(store, name).entries
    except (FileNotFoundError, StoreError):
        return ()


def _touch(store: Store, entries: Iterable[str]) -> None:
    from pipm.fs.share_file import touch  # noqa: PLC0415 - a sync with nothing to do writes no root

    for entry in entries:
        with directory_beneath(store.v1, f"wheels/{entry}") as folder:
            if folder is not None:
                touch(folder)


def find_root(store: Store, path: str) -> Root | None:
    """Return the root of the environment at the absolute *path*, if it has one."""
    try:
        return _read(store, root_name(path))
    except FileNotFoundError:
        return None


def all_roots(store: Store) -> Iterator[Root]:
    """Yield every root, sorted by path; StoreError for one that is damaged."""
    names = [name for name in names_in(store.roots) if not name.startswith(".")]
    yield from sorted((_read(store, name) for name in names), key=lambda root: root.path)


def damaged_roots(store: Store) -> list[str]:
    """Name the files in ``roots/`` that cannot be read."""
    found = []
    for name in sorted(names_in(store.roots)):
        if not name.startswith("."):
            try:
                _read(store, name)
            except StoreError:
                found.append(name)
    return found


def _read(store: Store, name: str) -> Root:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store.roots)
    with open(file, "rb") as stream:
        data = stream.read()
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.pop("version") != FORMAT:
            raise ValueError("of another format")  # noqa: TRY301 - told like every other damage
        document["entries"] = tuple(document["entries"])
        for key in ("words", "released"):
            document[key] = tuple(document.get(key, ()))
        document["fingerprint"] = document.pop("promise", "")
        return Root(**document)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The root {store.path}/v1/roots/{name} is damaged: {error}",
            hint="`pipm verify --rebuild` writes roots again from existing files",
        ) from error
