"""Building the store's entry for a distribution of an environment."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.digest import EMPTY
from pipm.core.manifest import FileEntry, Manifest, identity_of
from pipm.core.record import RecordPlace
from pipm.env.installed import read_metadata_file
from pipm.fs.durability import sync_file_system
from pipm.fs.tree_builder import TreeBuilder
from pipm.store.entries import MANIFEST, PARTIAL, find_entry, is_partial, load_manifest, publish_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipm.context.adopt_context import AdoptContext
    from pipm.context.statistics import Statistics
    from pipm.core.digest import Digest
    from pipm.core.manifest import Label
    from pipm.env.installed import InstalledDistribution
    from pipm.fs.share_file import NewFile
    from pipm.store.layout import Store

_TAG = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+")
_UNKNOWN_TAG = "unknown"


class EntryContents(NamedTuple):
    """The files of a distribution that an environment has.

    ``identity_rows`` are the (path in site-packages, digest, executable) rows that make its identity, or None
    if the content of one is unknown; ``missing`` are the entry paths that the environment lacks.
    """

    files: list[FileEntry]
    identity_rows: list[tuple[str, Digest, bool]] | None
    missing: list[str]


class BuiltEntry(NamedTuple):
    """A ``tree`` in the run's folder, to be published after a sync.

    Without a tree another environment of the run builds it, perhaps with fewer files than this one's
    ``manifest`` (JSON). Workers send a manifest as JSON, because pickling its objects takes three times as
    long.
    """

    label: Label
    tree: str = ""
    manifest: bytes = b""


def prepare_entry(
    context: AdoptContext,
    distribution: InstalledDistribution,
    contents: EntryContents,
    pending: Mapping[str, NewFile],
    statistics: Statistics,
) -> tuple[str | None, BuiltEntry | None]:
    """Build the tree of a distribution's entry, unless the store's entry has the same files.

    Returns the entry's path below ``wheels/`` (None if the distribution's identity is unknown), and the built
    tree, if any.
    """
    if contents.identity_rows is None:
        return None, None
    identity = identity_of(contents.identity_rows)
    existing = find_entry(context.store, distribution.name, distribution.version, identity)
    if existing is not None and not is_partial(context.store, existing):
        return existing, None
    manifest = Manifest(
        name=distribution.name,
        version=distribution.version,
        tag=_tag(read_metadata_file(context.root, distribution, "WHEEL")),
        identity=identity,
        origin=f"environment {context.environment.path}",
        files=tuple(contents.files),
        missing=(*contents.missing, *_missing_scripts(context, distribution, contents)),
    )
    if existing is not None:
        known = load_manifest(context.store, existing)
        manifest = known.merged(manifest)
        if len(manifest.files) == len(known.files) and len(manifest.missing) == len(known.missing):
            return existing, None
    if not manifest.files:
        return None, None
    # All environments of the run use this name, so a common entry is built once.
    tree = f"tree-{manifest.name}-{identity.hex()[:16]}"
    label = manifest.label
    try:
        build_tree(context.run, tree, context.store, manifest, pending, statistics)
        prepared = BuiltEntry(label, tree)
    except FileExistsError:
        prepared = BuiltEntry(label, manifest=manifest.to_json())
    return existing or label.directory, prepared


def complete_entry(context: AdoptContext, prepared: BuiltEntry, statistics: Statistics) -> None:
    """Complete the published entry of *prepared* if another environment built it with fewer files."""
    name, version, _, identity = prepared.label
    entry = find_entry(context.store, name, version, identity)
    if entry is None or not is_partial(context.store, entry):
        return
    known = load_manifest(context.store, entry)
    manifest = Manifest.from_json(prepared.manifest)
    merged = known.merged(manifest)
    if len(merged.files) > len(known.files) or len(merged.missing) < len(known.missing):
        tree = f"more-{manifest.name}-{manifest.identity.hex()[:16]}-{os.urandom(4).hex()}"
        merged = build_tree(context.run, tree, context.store, merged, {}, statistics)
        sync_file_system(context.run)
        publish_entry(context.store, context.run, tree, merged.label)


def build_tree(
    run: int,
    tree: str,
    store: Store,
    manifest: Manifest,
    pending: Mapping[str, NewFile],
    statistics: Statistics,
) -> Manifest:
    """Link the files of *manifest* as *tree* in the folder *run*; *pending* objects are not in the store yet.

    Returns the manifest of the tree: if gc removed an object meanwhile, its file is listed as missing.
    """
    builder = TreeBuilder(run, tree)
    gone = set()
    for entry in manifest.files:
        if entry.digest == EMPTY:
            builder.empty(entry.path, entry.mode, entry.mtime_ns)
            continue
        name = entry.object_name
        new = pending.get(name)
        try:
            if new is None:
                builder.link(store.objects, name, entry.path)
            else:
                builder.link(new.directory, new.name, entry.path)
        except FileNotFoundError:
            gone.add(entry.path)
    if gone:
        files = tuple(entry for entry in manifest.files if entry.path not in gone)
        manifest = replace(manifest, files=files, missing=(*manifest.missing, *sorted(gone)))
    builder.write(MANIFEST, manifest.to_json())
    if manifest.partial:
        builder.write(PARTIAL, b"")
    statistics.taken += builder.blocks()
    statistics.made += builder.inodes
    statistics.entries += builder.names
    return manifest


def _tag(wheel: str) -> str:
    """Return the tag of the wheel's file name, from its WHEEL file: build, then the compressed tag set."""
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    if not tags or not all(_TAG.fullmatch(tag) for tag in tags):
        return _UNKNOWN_TAG
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    compressed = "-".join(".".join(dict.fromkeys(part)) for part in parts)
    build = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Build:")]
    if build and re.fullmatch(r"[0-9][A-Za-z0-9_]*", build[0]):
        return f"{build[0]}-{compressed}"
    return compressed


def _missing_scripts(
    context: AdoptContext, distribution: InstalledDistribution, contents: EntryContents
) -> list[str]:
    """Return the wheel's own scripts: installers change their first line, so an environment lacks them."""
    generated = {file.path.removeprefix("scripts/") for file in contents.files}
    for line in read_metadata_file(context.root, distribution, "entry_points.txt").splitlines():
        name, equals, _ = line.partition("=")
        if equals:
            generated.add(name.strip())
    missing = []
    for _, location in distribution.located:
        if location.place is RecordPlace.SCRIPT:
            name = location.path.rpartition("/")[2]
            # pip and setuptools (easy_install) also install their scripts with a version in the name.
            if name not in generated and re.sub(r"-?[0-9.]+$", "", name) not in generated:
                missing.append(f"scripts/{name}")
    return missing
