"""The store's files as they are, beside what manifests and names promise."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.digest import EMPTY, Digest
from pipm.core.plan.verify_plan import Flaw, Promise, is_suspicious, judge_file
from pipm.errors import StoreError
from pipm.fs.file_content import digest_at
from pipm.fs.walk_tree import named_inodes
from pipm.fs.xattrs import has_attributes
from pipm.store.entries import all_entries, load_manifest
from pipm.store.layout import VERSION
from pipm.store.objects import parse_object, trusted_owners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipm.core.manifest import Manifest
    from pipm.store.layout import Store

_NOBODYS = Digest(bytes(32))


@dataclass(slots=True)
class StoredFile:
    """One inode of the store (or a name that should be one) with its names below ``v1/``.

    ``actual`` is its digest where it was read. ``flaw`` is what is wrong with it. ``twin``: its inode has
    another promise to keep, too (a program for duplicate files made one of a plain and an executable file).
    """

    promise: Promise
    status: os.stat_result | None
    names: list[str]
    actual: Digest | None = None
    flaw: Flaw | None = None
    twin: bool = False

    @property
    def shown(self) -> str:
        """The path in its entry, else its name in the store."""
        for name in self.names:
            if name.startswith("wheels/"):
                return name.split("/", 4)[4]
        return self.names[0]

    @property
    def entries(self) -> list[str]:
        """The entries (paths below ``wheels/``) that have it."""
        trees = [name.split("/")[1:4] for name in self.names if name.startswith("wheels/")]
        return list(dict.fromkeys("/".join(parts) for parts in trees))

    @property
    def entry(self) -> str:
        """The entry that it is named by first; empty for an object of none."""
        return next(iter(self.entries), "")


@dataclass(slots=True)
class Inventory:
    """All files of the store by inode, entries' manifests, and entries whose manifest cannot be read.

    ``strange`` are names among the objects that are not a digest: something else left them.
    """

    files: list[StoredFile] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    unreadable: dict[str, StoreError] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def by_inode(self) -> dict[int, list[StoredFile]]:
        """The files by the number of their inode; several where one has two promises to keep."""
        found: dict[int, list[StoredFile]] = {}
        for file in self.files:
            if file.status is not None:
                found.setdefault(file.status.st_ino, []).append(file)
        return found

    def by_digest(self) -> dict[Digest, list[StoredFile]]:
        """The files of each content, executable or not."""
        found: dict[Digest, list[StoredFile]] = {}
        for file in self.files:
            found.setdefault(file.promise.digest, []).append(file)
        return found


def take_inventory(store: Store, entries: Iterable[str] | None = None) -> Inventory:
    """Stat every file of *entries* and their objects; of the whole store for None."""
    inventory = Inventory()
    names: dict[str, list[Promise]] = {}
    for entry in all_entries(store) if entries is None else entries:
        try:
            manifest = inventory.manifests[entry] = load_manifest(store, entry)
        except StoreError as error:
            inventory.unreadable[entry] = error
            continue
        for name, promise in _promises(entry, manifest):
            names.setdefault(name, []).append(promise)
    if entries is None:
        for name, _ in named_inodes(f"{store.path}/{VERSION}/objects", 1, "objects/"):
            named = _promise_of(name)
            if named is None:
                inventory.strange.append(name)
            else:
                names.setdefault(name, [named])
    inodes: dict[int, dict[Promise, StoredFile]] = {}
    for name, promises in names.items():
        status = _status(store, name)
        promise = _fitting(promises, status)
        files = {} if status is None else inodes.setdefault(status.st_ino, {})
        known = files.get(promise)
        if known is not None:
            known.names.append(name)
            continue
        file = files[promise] = StoredFile(promise, status, [name], twin=bool(files))
        inventory.files.append(file)
    return inventory


def _fitting(promises: list[Promise], status: os.stat_result | None) -> Promise:
    """Return the promise that a file keeps: entries may record several times of one content.

    That is so where a damaged object was replaced by what another environment had.
    """
    if status is not None:
        for promise in promises:
            if promise.mtime_ns == status.st_mtime_ns:
                return promise
    return promises[0]


def _promises(entry: str, manifest: Manifest) -> Iterator[tuple[str, Promise]]:
    for row in manifest.files:
        path, promise = row.path, Promise(*row[1:])
        yield f"wheels/{entry}/{path}", promise
        if promise.digest != EMPTY:
            yield f"objects/{promise.object_name}", promise


def check_file(store: Store, file: StoredFile, *, full: bool) -> None:
    """Set the file's flaw; its bytes are read where its stat speaks against it, and in a *full* check."""
    status, name = file.status, file.names[0]
    if status is None or not stat.S_ISREG(status.st_mode):
        file.flaw = judge_file(file.promise, status, None, trusted_owners())
        return
    if full or file.twin or is_suspicious(file.promise, status):
        file.actual = digest_of_stored(store, name)
    file.flaw = judge_file(file.promise, status, file.actual, trusted_owners())
    if file.flaw in (None, Flaw.MODE, Flaw.TIME):
        if file.twin:
            file.flaw = Flaw.INODE
        elif has_attributes(f"{store.path}/{VERSION}/{name}"):
            file.flaw = Flaw.ATTRIBUTES


def check_files(
    store: Store, inventory: Inventory, *, full: bool, advance: Callable[[int], None]
) -> list[StoredFile]:
    """Check all files of *inventory*; returns those with a flaw."""
    for file in inventory.files:
        check_file(store, file, full=full)
        advance(0 if file.status is None else file.status.st_size)
    return [file for file in inventory.files if file.flaw is not None]


def digest_of_stored(store: Store, name: str) -> Digest:
    """The digest of a file below ``v1/``; no file's digest where it cannot be read."""
    try:
        return digest_at(store.v1, name)
    except OSError:
        return _NOBODYS


def _status(store: Store, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=store.v1, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _promise_of(name: str) -> Promise | None:
    """What the name of an object that no entry has promises; None for a name that is not an object's."""
    kind = parse_object(name)
    return None if kind is None else Promise(kind[0], None, kind[1], kind[2], None, None)
