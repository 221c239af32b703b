"""Pull: add entries of a remote to the store, after hashing all data."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from pipm.core.bytecode import bytecode_mtime_ns, header_time
from pipm.core.digest import EMPTY
from pipm.core.manifest import FileEntry, Manifest, identity_of
from pipm.core.record import is_bytecode, is_installers_own
from pipm.core.size_text import size_text
from pipm.errors import RemoteError
from pipm.fs.bytecode_header import with_source_time
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import free_space
from pipm.fs.share_file import NewFile, Stored, forget, give_name, rename_over
from pipm.fs.tree_builder import TreeBuilder
from pipm.remote.pack_writer import frame_starts
from pipm.remote.read_frames import FileDownload, WantedFile, located, read_manifests
from pipm.share.copy_from_layer import true_rows
from pipm.store.bytecode_pool import Pool
from pipm.store.entries import (
    MANIFEST,
    find_entry,
    has_complete_entry,
    link_archives,
    load_manifest,
    publish_entry,
)
from pipm.store.objects import ObjectFolders, find_object, is_trusted, object_mode
from pipm.wheel.entry_paths import EntryPaths, name_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipm.context.progress import Progress
    from pipm.core.digest import Digest
    from pipm.core.manifest import Label
    from pipm.remote.remote_values import Frame, IndexEntry, RemoteManifest
    from pipm.remote.transport import Transport
    from pipm.store.layout import Store

_SCHEMES = ("site", "data", "headers", "scripts")
_TAG = re.compile(r"[A-Za-z0-9_.+-]{1,4000}")
_BYTECODE_MODE = 0o444
_LONGEST_SHOWN = 200


class Pulled(NamedTuple):
    """The result of a pull: requested entries, new ones, fetched files and bytes."""

    entries: tuple[str, ...]
    new: tuple[str, ...]
    files: int
    downloaded: int


def pull_entries(
    store: Store,
    transport: Transport,
    rows: Sequence[IndexEntry],
    interpreters: Iterable[str],
    progress: Progress,
) -> Pulled:
    """Pull the entries of *rows*, and their bytecode for *interpreters* (names of pools).

    The caller has checked the signature of the rows' index and holds the store's lock. Raise RemoteError for
    data that differs from the signer's; then publish no entry.
    """
    have = {row.key: entry for row in rows if (entry := _complete(store, row))}
    lacking = [row for row in rows if row.key not in have]
    manifests = {key: load_manifest(store, entry) for key, entry in have.items()}
    pools = sorted(interpreters)
    code = {
        row.key: [
            (name, row.bytecode[name])
            for name in pools
            if name in row.bytecode
            and (row.key not in have or not _is_compiled(store, manifests[row.key], name))
        ]
        for row in rows
    }
    compiled = (blob for parts in code.values() for _, blob in parts)
    found = read_manifests(transport, [*(row.manifest for row in lacking), *compiled])
    progress.phase("Pulling", sum(len(remote.files) for remote in found.values()))
    with store.run() as (run, _), FileDownload(transport, progress.advance) as download:
        incoming = _Incoming(store, run, download, progress)
        for row in sorted(rows, key=lambda row: _first_frame(found, row)):
            if row.key not in have:
                remote = found[row.manifest.digest]
                checked = checked_manifest(row, remote, incoming.now_ns)
                manifests[row.key] = incoming.add_entry(checked, remote)
            elif code[row.key]:
                known = manifests[row.key]
                manifests[row.key] = replace(known, files=true_rows(store, known.files))
            for name, blob in code[row.key]:
                incoming.add_bytecode(name, manifests[row.key], found[blob.digest])
        download.finish()
        new = incoming.publish()
    have |= {row.key: new[manifests[row.key].label] for row in lacking}
    link_archives(store, [(have[row.key], one) for row in rows for one in row.archives])
    return Pulled(
        tuple(have[row.key] for row in rows), tuple(have[row.key] for row in lacking), *incoming.totals()
    )


def _first_frame(found: Mapping[Digest, RemoteManifest], row: IndexEntry) -> tuple[str, int]:
    """Return the place of the first frame of an entry: in this order downloads need the fewest requests."""
    blobs = (row.manifest, *row.bytecode.values())
    frames = (frame for blob in blobs if blob.digest in found for frame in found[blob.digest].frames)
    return min((frame[:2] for frame in frames), default=("", 0))


def _complete(store: Store, row: IndexEntry) -> str | None:
    """Return the store's complete entry with that identity, or None."""
    entry = find_entry(store, row.name, row.version, row.identity)
    return entry if entry is not None and has_complete_entry(store, entry) else None


def _is_compiled(store: Store, manifest: Manifest, interpreter: str) -> bool:
    """Return whether the pool of *interpreter* has the bytecode of all modules: no manifest need be read."""
    pool = Pool(folder=store.bytecode, interpreter=interpreter)
    modules = [one for one in manifest.files if one.path.startswith("site/") and one.path.endswith(".py")]
    return all(pool.find(one.digest, header_time(one.mtime_ns)) for one in true_rows(store, modules))


def checked_manifest(row: IndexEntry, remote: RemoteManifest, now_ns: int) -> Manifest:
    """Return the manifest of an entry of a remote; raise RemoteError for paths that a wheel cannot have."""

    def check(what: str, why: str | None) -> None:
        if why is not None:
            shown = f"{row.name[:_LONGEST_SHOWN]} {row.version[:_LONGEST_SHOWN]}"
            raise RemoteError(f"{shown} of the remote: {what[:_LONGEST_SHOWN]!r} {why}")

    check(f"{row.name}/{row.version}/{row.tag}", _label_refusal(row))
    paths, files = EntryPaths(), []
    for path, digest, size, kind, _ in remote.files:
        check(path, _file_refusal(path, digest, size) or paths.refusal(path))
        executable, writable = bool(kind & 1), bool(kind & 2)
        mode = object_mode(executable=executable, writable=writable)
        files.append(FileEntry(path, digest, size, executable, writable, mode, now_ns))
    modules = [one for one in files if one.path.startswith("site/")]
    identity = identity_of((one.path.removeprefix("site/"), one.digest, one.executable) for one in modules)
    check("its identity", None if identity == row.identity else "is not the identity of its files")
    return Manifest(
        name=row.name,
        version=row.version,
        tag=row.tag,
        identity=row.identity,
        origin="remote",
        files=tuple(files),
        wheels=row.archives,
    )


def _label_refusal(row: IndexEntry) -> str | None:
    try:
        normal = (
            canonicalize_name(row.name, validate=True) == row.name
            and str(Version(row.version)) == row.version
        )
    except ValueError:
        normal = False
    return None if normal and _TAG.fullmatch(row.tag) else "is not named like a wheel"


def _file_refusal(path: str, digest: Digest, size: int) -> str | None:
    scheme, _, rest = path.partition("/")
    if scheme not in _SCHEMES or not rest:
        return "belongs to no scheme of the format"
    if scheme == "site" and (is_installers_own(rest) or is_bytecode(rest)):
        return "is not a path that a wheel contains"
    if (size == 0) != (digest == EMPTY):
        return "has another size than its content"
    return name_refusal(path)


class _Incoming:
    """The trees of new entries and the new bytecode, in the run's folder until all of it was hashed."""

    def __init__(self, store: Store, run: int, download: FileDownload, progress: Progress) -> None:
        self._store, self._run = store, run
        self._download, self._progress = download, progress
        self._free = free_space(run).size
        self._trees: list[tuple[TreeBuilder, Manifest]] = []
        self._objects: dict[str, tuple[TreeBuilder, str]] = {}
        """New objects: the tree and the path of the file that becomes one."""
        self._copies: list[tuple[str, TreeBuilder, str]] = []
        """Further files of new objects: names of objects, trees and paths."""
        self._bytecode: dict[str, NewFile] = {}
        self._damaged: list[str] = []
        self._frames: set[Frame] = set()
        self.now_ns = os.fstat(run).st_mtime_ns
        """One time for all objects, with the file system's resolution."""

    def add_entry(self, manifest: Manifest, remote: RemoteManifest) -> Manifest:
        """Begin the tree of an entry; return its manifest, with the store's modes and times."""
        tree = TreeBuilder(self._run, f"tree-{len(self._trees)}")
        starts = frame_starts(remote.frames)
        wanted = []
        files = []
        for file, row in zip(manifest.files, remote.files, strict=True):
            name, path = file.object_name, file.path
            known = self._known(file) if file.size and name not in self._objects else None
            if not file.size:
                tree.empty(path, file.mode, file.mtime_ns)
            elif known is not None:
                tree.link(self._store.objects, name, path)
            elif name in self._objects:
                tree.make_folders(path)
                self._copies.append((name, tree, path))
            else:
                self._objects[name] = tree, path
                new = NewFile(self._run, f"new-{len(self._objects)}")
                place, later = located(remote, starts, row), tree.new_file(path)
                wanted.append(WantedFile(row, *place, new, later.name, file.mode, self.now_ns))
            files.append(file if known is None else file._replace(**Stored.of(known)._asdict()))
        self._add(wanted, len(files))
        manifest = replace(manifest, files=tuple(files))
        self._trees.append((tree, manifest))
        return manifest

    def add_bytecode(self, interpreter: str, manifest: Manifest, remote: RemoteManifest) -> None:
        """Add bytecode that the pool of *interpreter* lacks, with the source's time in its header."""
        pool = Pool(folder=self._store.bytecode, interpreter=interpreter)
        compiled = {row.path: row for row in remote.files}
        starts = frame_starts(remote.frames)
        wanted = []
        for file in manifest.files:
            row = compiled.get(file.digest.hex()) if file.path.endswith(".py") else None
            time = header_time(file.mtime_ns)
            name = pool.name(file.digest, time)
            if row is None or not row.size or name in self._bytecode or pool.find(file.digest, time):
                continue
            header = partial(_with_header, interpreter, file.size, time)
            new = self._bytecode[name] = NewFile(self._run, f"bytecode-{len(self._bytecode)}")
            place, mtime_ns = located(remote, starts, row), bytecode_mtime_ns(time)
            wanted.append(WantedFile(row, *place, new, new.name, _BYTECODE_MODE, mtime_ns, header))
            pool.make_room(file.digest)
        self._add(wanted, len(compiled))

    def publish(self) -> dict[Label, str]:
        """Give all that was downloaded its names in the store; return the new entries."""
        store, objects = self._store, self._store.objects
        sync_file_system(self._run)  # the bytes must be on disk before the names
        for name in self._damaged:
            forget(objects, name)
        for name, new in self._bytecode.items():
            rename_over(new, store.bytecode, name)
        rooms, others = ObjectFolders(objects), False
        for name, (tree, path) in self._objects.items():
            rooms.make(name)
            if not give_name(tree.new_file(path), objects, name):
                tree.replace(objects, name, path)
                others = True  # another process brought it, with another time
        for name, tree, path in self._copies:
            tree.link(objects, name, path)
        for tree, manifest in self._trees:
            rows = true_rows(store, manifest.files) if others else manifest.files
            tree.write(MANIFEST, replace(manifest, files=rows).to_json())
        sync_file_system(self._run)
        return {
            manifest.label: publish_entry(store, self._run, tree.name, manifest.label)
            for tree, manifest in self._trees
        }

    def totals(self) -> tuple[int, int]:
        """The numbers of fetched files and bytes."""
        return len(self._objects) + len(self._bytecode), sum(frame.length for frame in self._frames)

    def _known(self, file: FileEntry) -> os.stat_result | None:
        """Return the stat of the store's object for *file*, unless it is missing or damaged."""
        status = find_object(self._store.objects, file.object_name)
        if status is None or (is_trusted(status) and status.st_size == file.size):
            return status
        self._damaged.append(file.object_name)  # another size, or another user's file
        return None

    def _add(self, wanted: list[WantedFile], files: int) -> None:
        """Download *wanted* of a number of *files*."""
        self._free -= sum(one.file.size for one in wanted)
        if self._free < 0:
            raise RemoteError(
                f"The remote's files need {size_text(-self._free)} or more besides the store's free space",
                hint="free some space there",
            )
        self._frames.update(frame for one in wanted for frame in one.frames)
        self._progress.advance(files - len(wanted), 0)
        self._download.add(wanted)


def _with_header(interpreter: str, source_size: int, time: int, data: bytes) -> bytes:
    """Return the bytecode *data* for a source of that size and time; raise RemoteError for another source."""
    timed = with_source_time(data, time)
    magic = int.from_bytes(data[:2], "little")
    if (
        timed is None
        or interpreter.rpartition("-")[2] != str(magic)
        or (int.from_bytes(data[12:16], "little") != source_size & 0xFFFFFFFF)
    ):
        raise RemoteError("Bytecode of the remote belongs to another source")
    return timed
