"""The store's blueprints: kept beside each manifest, made anew where they are missing or torn."""

from __future__ import annotations

import marshal
import os
import zlib
from typing import TYPE_CHECKING

from dedupe.core.blueprint import Blueprint, Folder, Other, blueprint_of
from dedupe.errors import StoreError
from dedupe.fs.beneath import open_beneath, open_directory_beneath
from dedupe.fs.sync import Durability, write_durably
from dedupe.store.wheels import load_manifest

if TYPE_CHECKING:
    from dedupe.core.manifest import Manifest
    from dedupe.store.layout import Store

BLUEPRINT = "blueprint"
_MAGIC = b"pipm blueprint 1\n"
_HEAD = len(_MAGIC) + 4


def load_blueprint(store: Store, entry: str) -> Blueprint:
    """Read the blueprint of the complete *entry* (a path below ``wheels/``); StoreError if it has none."""
    path = f"wheels/{entry}/{BLUEPRINT}"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store.v1)
    except FileNotFoundError:
        return _made(store, entry)
    with open(file, "rb") as stream:
        data = stream.read()
    # It was written without waiting for the disk: after a power cut it may be there and hold zeros.
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : _HEAD] != _checksum(data[_HEAD:]):
        return _made(store, entry)
    name, version, metadata, described, folders, copies, others, record, scripts = marshal.loads(  # noqa: S302
        memoryview(data)[_HEAD:]  # our own, by magic and checksum
    )
    return Blueprint(
        name,
        version,
        metadata,
        tuple(map(Folder._make, described)),
        tuple(map(Folder._make, folders)),
        copies,
        tuple(map(Other._make, others)),
        record,
        scripts,
    )


def _made(store: Store, entry: str) -> Blueprint:
    manifest = load_manifest(store, entry)
    try:
        blueprint = blueprint_of(manifest, _scripts(store, entry, manifest))
    except ValueError as error:
        raise StoreError(
            f"The store's entry {entry} cannot be installed: {error}",
            hint=f"remove {store.path}/v1/wheels/{entry}; the next sync fetches it again",
        ) from error
    data = marshal.dumps(_plain(blueprint), 4)  # type: ignore[arg-type] # tuples of tuples of text
    folder = open_directory_beneath(store.v1, f"wheels/{entry}")
    try:
        write_durably(folder, BLUEPRINT, _MAGIC + _checksum(data) + data, Durability.LATER)
    finally:
        os.close(folder)
    return blueprint


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _plain(blueprint: Blueprint) -> tuple[object, ...]:
    """The blueprint as bare tuples, which is what marshal writes."""
    return tuple(tuple(map(tuple, part)) if isinstance(part, tuple) else part for part in blueprint)


def _scripts(store: Store, entry: str, manifest: Manifest) -> tuple[tuple[str, bytes], ...]:
    """The entry points as `installer` writes them, without their first line, which is the environment's."""
    ending = ".dist-info/entry_points.txt"
    path = next((e.path for e in manifest.files if e.path.endswith(ending) and e.path.count("/") == 2), None)
    if path is None:
        return ()
    from installer.scripts import Script  # noqa: PLC0415 - 40 ms, paid once an entry
    from installer.utils import parse_entrypoints  # noqa: PLC0415

    file = open_beneath(store.v1, f"wheels/{entry}/{path}", os.O_RDONLY)
    with open(file, "rb") as stream:
        text = stream.read().decode("utf-8")
    scripts = []
    for name, module, attribute, section in parse_entrypoints(text):
        if "/" in name or name in ("", ".", ".."):
            raise StoreError(f"The store's entry {entry} has a script named {name!r}")
        _, code = Script(name, module, attribute, section).generate("/python", "posix")
        scripts.append((name, code.partition(b"\n")[2]))
    return tuple(scripts)
