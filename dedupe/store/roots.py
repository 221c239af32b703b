"""Roots: one small file an environment, durable before the first file of it is replaced."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.errors import StoreError
from dedupe.fs.sync import Durability, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupe.store.layout import Store

FORMAT = 1
ADOPTING = "adopting"
ADOPTED = "adopted"
PARTLY = "partly"
SYNCING = "syncing"
SYNCED = "synced"


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    """An environment that uses the store.

    ``device`` and ``inode`` are those of its ``pyvenv.cfg``: a copy of the environment is another one.
    ``seen`` is in seconds since the epoch. ``state`` is ``adopting`` while a run is (or was, when it
    got killed) at work, then ``adopted``; ``partly`` after some distributions were released. ``syncing``
    and ``synced`` are the same of an environment that follows the lock file at ``lock``.
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

    @property
    def name(self) -> str:
        """The root's file name."""
        return root_name(self.path)


def root_name(path: str) -> str:
    """Name the root of the environment at the absolute *path*."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def write_root(store: Store, root: Root, durability: Durability = Durability.NOW) -> None:
    """Write *root*, durably unless a lesser *durability* will do."""
    document = {
        "version": FORMAT,
        "path": root.path,
        "device": root.device,
        "inode": root.inode,
        "python": root.python,
        "link_mode": root.link_mode,
        "state": root.state,
        "seen": root.seen,
        "entries": root.entries,
        "lock": root.lock,
    }
    write_durably(store.roots, root.name, json.dumps(document, indent=1).encode("ascii"), durability)


def remove_root(store: Store, path: str) -> None:
    """Forget the environment at *path*, durably."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(root_name(path), dir_fd=store.roots)
        os.fsync(store.roots)


def find_root(store: Store, path: str) -> Root | None:
    """Return the root of the environment at the absolute *path*, if it has one."""
    try:
        return _read(store, root_name(path))
    except FileNotFoundError:
        return None


def all_roots(store: Store) -> Iterator[Root]:
    """Yield every root, sorted by path; StoreError for one that is damaged."""
    names = [name for name in os.listdir(store.roots) if not name.startswith(".")]
    yield from sorted((_read(store, name) for name in names), key=lambda root: root.path)


def _read(store: Store, name: str) -> Root:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store.roots)
    with open(file, "rb") as stream:
        data = stream.read()
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.pop("version") != FORMAT:
            raise ValueError("of another format")  # noqa: TRY301 - told like every other damage
        document["entries"] = tuple(document["entries"])
        return Root(**document)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The root {store.path}/v1/roots/{name} is damaged: {error}",
            hint="remove it and adopt its environment again",
        ) from error
