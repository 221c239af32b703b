"""`pipm store add`: add wheel archives to the store."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import WheelError
from pipm.fs.durability import sync_file_system
from pipm.fs.os_errors import explain_os_error
from pipm.fs.removal import remove_tree
from pipm.fs.share_file import Stored, forget, give_name, same_files
from pipm.fs.tree_builder import TreeBuilder
from pipm.store.entries import MANIFEST, find_entry, link_archives, load_manifest, publish_entry
from pipm.store.layout import open_store
from pipm.store.objects import ObjectFolders, find_object, is_trusted
from pipm.wheel.unpack_wheel import unpack_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.workers import SharedState
    from pipm.core.digest import Digest
    from pipm.core.manifest import FileEntry, Manifest
    from pipm.store.layout import Store
    from pipm.wheel.record_hashes import RecordMismatch
    from pipm.wheel.unpack_wheel import UnpackedWheel


class AddedWheel(NamedTuple):
    """A wheel and its entry (path below ``wheels/``); ``known`` is true if the store had the entry."""

    wheel: str
    entry: str
    known: bool


class StoredWheel(NamedTuple):
    """An added wheel: its path, the archive's sha256, its entry.

    ``known`` is true if the store already had the entry. ``mismatches`` are the rows of its RECORD that
    differ from the archive.
    """

    path: str
    archive: Digest
    entry: str
    known: bool
    mismatches: tuple[RecordMismatch, ...] = ()


def add_wheel_file(store_path: str, path: str, file_name: str = "") -> AddedWheel:
    """Add the wheel at *path* to the store; raise WheelError with archive and member if it is not valid.

    *file_name* is the archive's file name if *path* has another.
    """
    if not os.path.isfile(path):
        raise WheelError(f"There is no wheel {path}", hint="name a .whl file")
    store = open_store(store_path)
    assert store is not None
    try:
        with store.writing(), store.run() as (run, _):
            (kept,) = store_wheels(store, run, [(path, file_name)])
    except OSError as error:
        raise explain_os_error(error, f"add {path} to the store {store_path}") from error
    return AddedWheel(path, kept.entry, kept.known)


def join_wheel_files(store_path: str, wheels: Iterable[tuple[str, str]], shared_state: SharedState) -> None:
    """Record the archives of *wheels* (pairs of path and file name); the store has most of their files.

    Such archives are read, not unpacked; others are added. An invalid one is skipped: pip installed it, but
    the store does not need it.
    """
    store = open_store(store_path)
    assert store is not None
    known: dict[str, Digest] = {}
    others = []
    for path, name in wheels:
        shared_state.check()
        try:
            manifest = unpack_wheel(path, None, name).manifest
        except WheelError:
            continue
        (archive,) = manifest.wheels
        entry = find_entry(store, manifest.name, manifest.version, manifest.identity)
        if entry is not None and _has_all(load_manifest(store, entry), manifest):
            known[entry] = archive
        else:
            others.append((path, name))
    with store.writing():
        link_archives(store, known.items())
    for path, name in others:
        shared_state.check()
        with contextlib.suppress(WheelError):
            add_wheel_file(store_path, path, name)


def _has_all(known: Manifest, archive: Manifest) -> bool:
    def brought(manifest: Manifest) -> set[tuple[str, Digest, bool]]:
        return {(file.path, file.digest, file.executable) for file in manifest.files}

    return not known.missing and brought(known) == brought(archive)


def store_wheels(
    store: Store,
    run: int,
    wheels: Sequence[tuple[str, str]],
    hashes: Iterable[tuple[str, str]] = (),
    *,
    rebuilt: bool = False,
) -> list[StoredWheel]:
    """Add *wheels*, pairs of path and file name (or ""), to the store, with one sync for all of them.

    *hashes* are the archives' hashes in a lock. If the wheels were *rebuilt* here, they replace entries of
    the same modules with other scripts or data. Raises WheelError for an invalid wheel; then none is
    published.
    """
    incoming = [
        unpack_into_store(store, run, f"tree-{number}", wheel, hashes, rebuilt=rebuilt)
        for number, wheel in enumerate(wheels)
    ]
    if any(one.is_new for one in incoming):
        sync_file_system(run)  # the store must get only objects whose bytes are on disk
        for one in incoming:
            one.build()
        sync_file_system(run)
    kept = [one.publish() for one in incoming]
    link_archives(store, [(one.entry, one.archive) for one in kept])
    return kept


def unpack_into_store(
    store: Store,
    run: int,
    name: str,
    wheel: tuple[str, str],
    hashes: Iterable[tuple[str, str]],
    *,
    digest: Digest | None = None,
    rebuilt: bool = False,
) -> IncomingWheel:
    """Unpack *wheel* as the tree *name* in the private folder *run*; raise WheelError; see `store_wheels`.

    *digest* is the archive's sha256 if this run hashed it while writing it to a private folder.
    """
    path, file_name = wheel
    tree = TreeBuilder(run, name)
    try:
        unpacked = unpack_wheel(path, tree, file_name, hashes, digest)
    except (OSError, WheelError):  # on a full disk others need the room
        remove_tree(run, tree.name)
        raise
    return IncomingWheel(store, path, unpacked, tree, rebuilt=rebuilt)


class IncomingWheel:
    """An unpacked wheel to be added; ``is_new`` is false if the store has exactly its files.

    The identity does not cover data files, headers and scripts: an entry made from an environment may have
    other ones. The archive's files then replace them.
    """

    def __init__(
        self, store: Store, path: str, unpacked: UnpackedWheel, tree: TreeBuilder, *, rebuilt: bool
    ) -> None:
        self._store, self._path, self._tree = store, path, tree
        self._unpacked = unpacked
        manifest = unpacked.manifest
        entry = find_entry(store, manifest.name, manifest.version, manifest.identity)
        known = None if entry is None else load_manifest(store, entry)
        self._entry = entry
        self.is_new = known is None or not _has_all(known, manifest)
        if known is not None and self.is_new:
            if known.wheels and not rebuilt:
                raise WheelError(
                    f"{manifest.origin} has other data files, headers or scripts than {known.origin},"
                    " which has the same modules",
                    hint="the project did not publish one of the two; compare their hashes",
                )
            manifest = replace(manifest, tag=known.tag, files=_with_known_times(manifest, known))
        self._manifest = manifest
        self._replaces = bool(known and known.wheels)

    def build(self) -> None:
        """Link its files into the store, and complete its tree; the caller has synced them."""
        if not self.is_new:
            return
        named: set[str] = set()
        rooms = ObjectFolders(self._store.objects)
        files = tuple(self._name_object(file, rooms, named) for file in self._manifest.files)
        self._manifest = replace(self._manifest, files=files)
        self._tree.write(MANIFEST, self._manifest.to_json())

    def _name_object(self, file: FileEntry, rooms: ObjectFolders, named: set[str]) -> FileEntry:
        """Link *file* into the store, or replace it by the store's object; return its row.

        *named* are the names of checked objects; this adds the one of *file*.
        """
        if not file.size:
            self._tree.empty(file.path, file.mode, file.mtime_ns)
            return file
        name, objects = file.object_name, self._store.objects
        new = self._tree.new_file(file.path)
        rooms.make(name)
        while not give_name(new, objects, name):
            stored = find_object(objects, name)
            if stored is None:
                continue
            if name in named or (is_trusted(stored) and same_files(new, objects, name)):
                self._tree.replace(objects, name, file.path)
                file = file._replace(**Stored.of(stored)._asdict())
                break
            forget(objects, name)  # the object was changed in place: the wheel's file replaces it
        named.add(name)
        return file

    def publish(self) -> StoredWheel:
        """Rename the tree to the name of its entry; the caller has synced it."""
        (archive,) = self._unpacked.manifest.wheels
        entry = self._entry
        if self.is_new:
            label = self._manifest.label
            entry = publish_entry(
                self._store, self._tree.parent, self._tree.name, label, replacing=self._replaces
            )
        assert entry is not None
        return StoredWheel(self._path, archive, entry, not self.is_new, self._unpacked.mismatches)


def _with_known_times(manifest: Manifest, known: Manifest) -> tuple[FileEntry, ...]:
    """Return the files of *manifest*; empty ones get the time in *known*, which their bytecode has, too."""
    empty = {file.path: file.mtime_ns for file in known.files if not file.size}
    return tuple(
        file if file.size else file._replace(mtime_ns=empty.get(file.path, file.mtime_ns))
        for file in manifest.files
    )
