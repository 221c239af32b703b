"""Push: copy entries of the store to a remote; upload only missing data."""

from __future__ import annotations

import hashlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from pipm.bytecode.sync_bytecode import is_uncompilable
from pipm.core.bytecode import bytecode_key, header_time
from pipm.core.digest import Digest
from pipm.errors import RemoteError, StoreError
from pipm.fs.beneath import open_beneath, read_beneath
from pipm.fs.bytecode_header import with_source_time
from pipm.remote.pack_writer import ManifestWriter, PackWriter, write_manifests
from pipm.remote.prune import Pruned, remove_unused
from pipm.remote.read_frames import read_manifests
from pipm.remote.remote_values import FRAME_SIZE, NOTHING, IndexEntry, RemoteIndex
from pipm.remote.signed_index import check_serial, read_index, write_index
from pipm.store.bytecode_pool import Pool, is_compiled
from pipm.store.entries import load_manifest
from pipm.store.objects import altered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipm.context.progress import Progress
    from pipm.core.manifest import Manifest
    from pipm.remote.keys import SecretKey
    from pipm.remote.remote_values import Blob, RemoteManifest
    from pipm.remote.transport import Transport
    from pipm.store.layout import Store


class Pushed(NamedTuple):
    """The result of a push: new or extended entries, uploaded bytes, and skipped entries with the reason."""

    entries: int
    new: tuple[str, ...]
    uploaded: int
    serial: int
    left: tuple[tuple[str, str], ...]
    pruned: Pruned


class _Part(NamedTuple):
    """An unfinished manifest of an entry's files, or of its bytecode for one interpreter."""

    entry: str
    interpreter: str
    writer: ManifestWriter


class _MissingParts(NamedTuple):
    """The missing parts of an entry: files (interpreter ``""``), and bytecode by interpreter."""

    entry: str
    manifest: Manifest
    parts: tuple[str, ...]


_FILES = ""
_Bases = dict[tuple[str, str], list["RemoteManifest"]]
"""Manifests with frames that may contain pushed files, by the names of distribution and interpreter."""
_MOST_BASES = 8
_DAY = 24 * 3600
_NAMED_AGAIN_DAYS = 7
"""Days between writes of an otherwise unchanged index, which show that its entries are in use."""
_LONGEST_PUSH = 3 * _DAY
"""Seconds that a push may take: so long no prune removes a pack that was new at its start (`GRACE_DAYS`)."""


def push_entries(
    store: Store,
    transport: Transport,
    destination: str,
    key: SecretKey,
    entries: Sequence[str],
    progress: Progress,
    prune_days: int | None = None,
) -> Pushed:
    """Upload *entries* (below ``wheels/``) to the remote, and sign the index.

    With *prune_days* remove entries that no push named for so long. The caller holds the store's lock.
    """
    started = time.time()
    transport.check_writable()
    known = read_index(transport, key.public)
    index = NOTHING if known is None else known.content
    check_serial(store, destination, key.public, index)
    manifests = {entry: load_manifest(store, entry) for entry in sorted(entries)}
    left = [(entry, "is incomplete in the store") for entry, one in manifests.items() if one.partial]
    work = _missing(store, {entry: one for entry, one in manifests.items() if not one.partial}, index)
    lacking = [one for one in work if one.parts]
    progress.phase("Pushing", len(lacking))
    with PackWriter(transport, index.packs.keys() - index.unused.keys()) as writer:
        bases = _bases(transport, index, lacking)
        parts: list[_Part] = []
        for one in lacking:
            try:
                parts += _write(store, writer, one, bases)
            except StoreError as error:
                left.append((one.entry, error.message))
            progress.advance(1, 0)
        frames = writer.finish()
        blobs = write_manifests(writer, [part.writer.manifest(frames) for part in parts])
    damaged = {entry for entry, _ in left}
    today = int(started) // _DAY
    rows = _rows(
        [one for one in work if one.entry not in damaged], index, zip(parts, blobs, strict=True), today
    )
    if time.time() - started > _LONGEST_PUSH:
        raise RemoteError("The push took days: its uploads may be removed", hint="push again")
    added = RemoteIndex(0, tuple(rows), index.packs | writer.sizes, {})

    def changed(current: RemoteIndex) -> RemoteIndex:
        merged = current.merged(added)
        return merged if prune_days is None else merged.without(today - prune_days, today)

    index = write_index(transport, key, known, changed)
    check_serial(store, destination, key.public, index)
    pruned = Pruned(0, 0) if prune_days is None else remove_unused(transport)
    new = tuple(dict.fromkeys(part.entry for part in parts))
    return Pushed(len(rows), new, writer.uploaded, index.serial, tuple(left), pruned)


def _missing(store: Store, manifests: dict[str, Manifest], index: RemoteIndex) -> list[_MissingParts]:
    rows = {row.key: row for row in index.entries}
    interpreters = sorted(os.listdir(f"{store.path}/v1/bytecode"))
    work = []
    for entry, manifest in manifests.items():
        row = rows.get((manifest.name, manifest.version, manifest.identity))
        lacking = [] if row else [_FILES]
        for interpreter in interpreters:
            known = row is not None and interpreter in row.bytecode
            if not known and _is_compiled(store, entry, manifest, interpreter):
                lacking.append(interpreter)
        work.append(_MissingParts(entry, manifest, tuple(lacking)))
    return work


def _sources(manifest: Manifest) -> dict[Digest, int]:
    """Return the modules of *manifest*: the digest, and the time in the bytecode's header."""
    modules = (file for file in manifest.files if file.path.startswith("site/") and file.path.endswith(".py"))
    return {file.digest: header_time(file.mtime_ns) for file in modules}


def _is_compiled(store: Store, entry: str, manifest: Manifest, interpreter: str) -> bool:
    """Return whether the store has all bytecode of *entry*: a remote never gets the rest of a part."""
    pool = Pool(folder=store.bytecode, interpreter=interpreter)
    lacking = [key for key in _sources(manifest).items() if pool.find(*key) is None]
    hopeless = all(is_uncompilable(store, interpreter, bytecode_key(*key)) for key in lacking)
    return len(lacking) < len(_sources(manifest)) and (hopeless or is_compiled(store, entry, interpreter))


def _bases(transport: Transport, index: RemoteIndex, lacking: Iterable[_MissingParts]) -> _Bases:
    """Read the newest manifests of other versions of the pushed distributions."""
    wanted: dict[tuple[str, str], list[Blob]] = {}
    for one in lacking:
        versions = [row for row in index.entries if row.name == one.manifest.name]
        versions.sort(key=lambda row: Version(row.version), reverse=True)
        for part in one.parts:
            blobs = (row.bytecode.get(part) if part else row.manifest for row in versions[:_MOST_BASES])
            wanted[one.manifest.name, part] = [blob for blob in blobs if blob]
    found = read_manifests(transport, [blob for blobs in wanted.values() for blob in blobs])
    return {key: [found[blob.digest] for blob in blobs] for key, blobs in wanted.items()}


def _write(store: Store, writer: PackWriter, work: _MissingParts, bases: _Bases) -> list[_Part]:
    """Write the missing parts of an entry; raise StoreError if the store's files are damaged."""
    parts = []
    for part in work.parts:
        known = bases[work.manifest.name, part]
        made = _files(store, writer, work, known) if not part else _bytecode(store, writer, work, part, known)
        known.append(made.so_far())  # the same push may contain another version
        parts.append(_Part(work.entry, part, made))
    return parts


def _files(
    store: Store, writer: PackWriter, work: _MissingParts, known: list[RemoteManifest]
) -> ManifestWriter:
    made = ManifestWriter(writer, known, [file.digest for file in work.manifest.files])
    for file in sorted(work.manifest.files):
        kind = file.executable | file.writable << 1
        path = f"wheels/{work.entry}/{file.path}"
        made.add(file.path, file.digest, file.size, kind, partial(_proven, store, path, file.digest))
    made.close()
    return made


def _proven(store: Store, path: str, digest: Digest) -> Iterator[bytes]:
    """Yield the store's file *path* in pieces; at the end raise StoreError if its digest is wrong."""
    state = hashlib.sha256()
    try:
        with open(open_beneath(store.v1, path, os.O_RDONLY), "rb") as stream:
            while piece := stream.read(FRAME_SIZE):
                state.update(piece)
                yield piece
    except OSError as error:
        raise altered(path) from error
    if state.digest() != digest:
        raise altered(path)


def _bytecode(
    store: Store, writer: PackWriter, work: _MissingParts, interpreter: str, known: list[RemoteManifest]
) -> ManifestWriter:
    pool = Pool(folder=store.bytecode, interpreter=interpreter)
    compiled = {}
    for source, header in sorted(_sources(work.manifest).items()):
        data = read_beneath(store.bytecode, pool.name(source, header)) if pool.find(source, header) else None
        timeless = None if data is None else with_source_time(data, 0)
        if timeless is not None:
            compiled[source] = (Digest.of(timeless), timeless)
    made = ManifestWriter(writer, known, [digest for digest, _ in compiled.values()])
    for source, (digest, data) in compiled.items():
        made.add(source.hex(), digest, len(data), 0, partial(iter, [data]))
    made.close()
    return made


def _rows(
    work: Iterable[_MissingParts], index: RemoteIndex, written: Iterable[tuple[_Part, Blob]], today: int
) -> list[IndexEntry]:
    """Return the index's rows of all requested entries."""
    blobs = {(part.entry, part.interpreter): blob for part, blob in written}
    known = {row.key: row for row in index.entries}
    rows = []
    for entry, manifest, parts in work:
        row = known.get((manifest.name, manifest.version, manifest.identity))
        rows.append(
            IndexEntry(
                name=manifest.name,
                version=manifest.version,
                tag=manifest.tag,
                identity=manifest.identity,
                archives=manifest.wheels,
                manifest=blobs[entry, _FILES] if row is None else row.manifest,
                bytecode={part: blobs[entry, part] for part in parts if part},
                day=today if row is None or today - row.day >= _NAMED_AGAIN_DAYS else row.day,
            )
        )
    return rows
