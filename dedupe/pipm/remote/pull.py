"""Pull: add entries of a remote to the store, after hashing all data."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from pipm.core.bytecode import bytecode_mtime_ns, header_time
from pipm.core.digest import EMPTY
from pipm.core.manifest import FileEntry, Manifest, identity_of
from pipm.core.record import is_bytecode, is_installers_own
from pipm.errors import RemoteError
from pipm.fs.bytecode_header import with_source_time
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import free_space
from pipm.fs.share_file import NewFile, forget
from pipm.remote.pack_writer import frame_starts
from pipm.remote.read_frames import WantedFile, bring_files, located, read_manifests
from pipm.share.copy_from_layer import name_files, publish_entries, true_rows
from pipm.store.bytecode_pool import Pool
from pipm.store.entries import find_entry, has_complete_entry, link_archives, load_manifest
from pipm.store.objects import find_object, is_trusted, object_mode
from pipm.wheel.entry_paths import EntryPaths, name_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.progress import Progress
    from pipm.core.digest import Digest
    from pipm.remote.remote_values import IndexEntry, RemoteManifest
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
    code = [
        (row, name, row.bytecode[name])
        for row in rows
        for name in interpreters
        if name in row.bytecode and (row.key not in have or not _is_compiled(store, manifests[row.key], name))
    ]
    found = read_manifests(transport, [*(row.manifest for row in lacking), *(blob for _, _, blob in code)])
    with store.run() as (run, _):
        incoming = _Incoming(store, run)
        for row in lacking:
            remote = found[row.manifest.digest]
            manifests[row.key] = checked_manifest(row, remote, incoming.now_ns)
            incoming.add_objects(manifests[row.key], remote)
        for row, name, blob in code:
            incoming.add_bytecode(name, manifests[row.key], found[blob.digest])
        incoming.bring(transport, progress)
        new = publish_entries(store, run, [manifests[row.key] for row in lacking], "tree-")
    link_archives(store, [(have[row.key], one) for row in rows if row.key in have for one in row.archives])
    have |= dict(zip((row.key for row in lacking), new, strict=True))
    return Pulled(tuple(have[row.key] for row in rows), tuple(new), *incoming.totals())


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
    """Files to fetch into the store, each once, by their future names."""

    def __init__(self, store: Store, run: int) -> None:
        self._store, self._run = store, run
        self._wanted: dict[tuple[int, str], WantedFile] = {}
        self._damaged: set[tuple[int, str]] = set()
        self.now_ns = os.fstat(run).st_mtime_ns
        """One time for all objects, with the file system's resolution."""

    def add_objects(self, manifest: Manifest, remote: RemoteManifest) -> None:
        """Add an entry's files that the store lacks."""
        starts = frame_starts(remote.frames)
        for file, row in zip(manifest.files, remote.files, strict=True):
            status = find_object(self._store.objects, file.object_name) if file.size else None
            known = status is not None and is_trusted(status) and status.st_size == file.size
            if file.size and not known:
                new = WantedFile(row, *located(remote, starts, row), self._new(), file.mode, self.now_ns)
                self._add(self._store.objects, file.object_name, new, is_there=status is not None)

    def add_bytecode(self, interpreter: str, manifest: Manifest, remote: RemoteManifest) -> None:
        """Add bytecode that the pool of *interpreter* lacks, with the source's time in its header."""
        pool = Pool(folder=self._store.bytecode, interpreter=interpreter)
        compiled = {row.path: row for row in remote.files}
        starts = frame_starts(remote.frames)
        for file in true_rows(self._store, manifest.files):
            row = compiled.get(file.digest.hex()) if file.path.endswith(".py") else None
            time = header_time(file.mtime_ns)
            if row is None or not row.size or pool.find(file.digest, time) is not None:
                continue
            name = pool.name(file.digest, time)
            header = partial(_with_header, interpreter, file.size, time)
            place, mtime_ns = located(remote, starts, row), bytecode_mtime_ns(time)
            new = WantedFile(row, *place, self._new(), _BYTECODE_MODE, mtime_ns, header)
            is_there = find_object(self._store.bytecode, name) is not None  # of another time
            self._add(self._store.bytecode, name, new, is_there=is_there)

    def bring(self, transport: Transport, progress: Progress) -> None:
        """Download all files, hash them, and rename them to their final names."""
        need = sum(one.file.size for one in self._wanted.values())
        free = free_space(self._run).size
        if need > free:
            raise RemoteError(
                f"The remote's files need {need >> 20} MiB, the store's disk has {free >> 20} MiB free",
                hint="free some space there",
            )
        progress.phase("Pulling", len(self._wanted))
        bring_files(transport, self._wanted.values(), progress.advance)
        sync_file_system(self._run)  # the bytes must be on disk before the names
        for folder, name in self._damaged:
            forget(folder, name)
        name_files((folder, one.new, name) for (folder, name), one in self._wanted.items())

    def totals(self) -> tuple[int, int]:
        """The numbers of fetched files and bytes."""
        frames = {frame for one in self._wanted.values() for frame in one.frames}
        return len(self._wanted), sum(frame.length for frame in frames)

    def _add(self, folder: int, name: str, new: WantedFile, *, is_there: bool) -> None:
        self._wanted.setdefault((folder, name), new)
        if is_there:  # another size, or another user's file
            self._damaged.add((folder, name))

    def _new(self) -> NewFile:
        return NewFile(self._run, f"pulled-{len(self._wanted)}")


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
