"""Taking objects and entries from read-only layers into the store."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.context.statistics import Statistics
from pipm.core.bytecode import bytecode_key, bytecode_mtime_ns, header_time, key_path
from pipm.core.digest import EMPTY, Digest
from pipm.core.disk_usage import Accounting
from pipm.fs.durability import sync_file_system
from pipm.fs.share_file import NewFile, Stored, bring_file, ensure_folder, give_name
from pipm.share.build_entry import build_tree
from pipm.store.entries import has_complete_entry, link_archives, load_manifest, publish_entry
from pipm.store.layers import home_of, layered_object
from pipm.store.objects import find_object, is_trusted, trusted_owners

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.core.manifest import FileEntry, Manifest
    from pipm.store.layout import Store


def borrow_object(store: Store, layers: Iterable[Store], new: NewFile, name: str) -> bool:
    """Link or reflink an object of a layer into *store*, via *new*; return False if that needs a copy."""
    for layer in layers:
        status = layered_object(layer, name)
        if status is not None:
            link = status.st_uid in trusted_owners()
            if bring_file(layer.objects, name, new, link=link, copy=False):
                return give_name(new, store.objects, name)
    return False


def pull_entry(store: Store, run: int, layer: Store, entry: str) -> str:
    """Take the complete *entry* of *layer* into *store*; return its path below ``wheels/`` there.

    The caller holds the store's lock; *run* is its private folder.
    """
    if has_complete_entry(store, entry):
        return entry
    manifest = load_manifest(layer, entry)
    folder = f"layer-{Digest.of(entry.encode()).hex()[:16]}"
    ensure_folder(run, folder, 0o700)
    brought = [
        *_brought(store.objects, layer.objects, _objects(store, layer, manifest), run, f"{folder}/o"),
        *_brought(store.bytecode, layer.bytecode, _bytecode(layer, manifest), run, f"{folder}/b"),
    ]
    sync_file_system(run)  # the store must get only files whose bytes are on disk
    name_files(brought)
    (own,) = publish_entries(store, run, [manifest], f"{folder}/tree")
    return own


def take_in(store: Store, entries: Iterable[str]) -> None:
    """Take the entries that only a layer has into *store*. The caller holds the store's lock."""
    layered = [(home, entry) for entry in entries if (home := home_of(store, entry)) is not store]
    if layered:
        with store.run() as (run, _):
            for layer, entry in layered:
                pull_entry(store, run, layer, entry)


def name_files(files: Iterable[tuple[int, NewFile, str]]) -> None:
    """Link each new, synced file to its name in a folder of the store, unless the name exists."""
    made: set[tuple[int, str]] = set()
    for target, new, name in files:
        room = (target, name.rpartition("/")[0])
        if room not in made:
            _make_rooms(target, name)
            made.add(room)
        give_name(new, target, name)


def publish_entries(store: Store, run: int, manifests: Iterable[Manifest], prefix: str) -> list[str]:
    """Publish entries of *manifests*, whose objects the store has; return their paths below ``wheels/``.

    Their trees are built in the run's folder; *prefix* and a number make their names.
    """
    trees = []
    for number, manifest in enumerate(manifests):
        rows = replace(manifest, files=true_rows(store, manifest.files))
        tree = f"{prefix}{number}"
        trees.append((tree, build_tree(run, tree, store, rows, {}, Statistics(Accounting()))))
    sync_file_system(run)
    own = [publish_entry(store, run, tree, manifest.label) for tree, manifest in trees]
    link_archives(
        store,
        [(entry, wheel) for entry, (_, one) in zip(own, trees, strict=True) for wheel in one.wheels],
    )
    return own


def true_rows(store: Store, files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Return *files* with mode and time of the store's objects, as far as it has them."""
    rows = []
    for file in files:
        status = find_object(store.objects, file.object_name) if file.size else None
        rows.append(file if status is None else file._replace(**Stored.of(status)._asdict()))
    return tuple(rows)


def _objects(store: Store, layer: Store, manifest: Manifest) -> Iterator[str]:
    times = {file.object_name: file.mtime_ns for file in manifest.files if file.digest != EMPTY}
    for name, mtime_ns in times.items():
        own = find_object(store.objects, name)
        if own is None or not is_trusted(own):
            theirs = layered_object(layer, name)
            if theirs is not None and theirs.st_mtime_ns == mtime_ns:
                yield name


def _bytecode(layer: Store, manifest: Manifest) -> Iterator[str]:
    sources = {
        (file.digest, header_time(file.mtime_ns)) for file in manifest.files if file.path.endswith(".py")
    }
    for interpreter in os.listdir(f"{layer.path}/v1/bytecode"):
        for digest, time in sources:
            name = f"{interpreter}/{key_path(bytecode_key(digest, time))}"
            status = find_object(layer.bytecode, name)
            if status is not None and status.st_mtime_ns == bytecode_mtime_ns(time):
                yield name


def _brought(
    target: int, source: int, names: Iterable[str], run: int, prefix: str
) -> Iterator[tuple[int, NewFile, str]]:
    """Link, reflink or copy files into the run's folder."""
    for number, name in enumerate(names):
        new = NewFile(run, f"{prefix}{number}")
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if bring_file(source, name, new, link=status.st_uid in trusted_owners(), copy=True):
            yield target, new, name


def _make_rooms(target: int, name: str) -> None:
    parts = name.split("/")[:-1]
    for number in range(len(parts)):
        ensure_folder(target, "/".join(parts[: number + 1]), 0o755)
