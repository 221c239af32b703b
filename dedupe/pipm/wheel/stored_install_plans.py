"""The store's install plans: files beside manifests, computed again if missing or damaged."""

from __future__ import annotations

import marshal
import os
import struct
import zlib

from pipm.core.install_plan import DataFile, InstallPlan, PlanFolder, install_plan_of
from pipm.errors import StoreError
from pipm.fs.beneath import open_beneath, open_directory_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.opened import opened
from pipm.store.entries import load_manifest
from pipm.store.layers import home_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pipm.core.manifest import Manifest
    from pipm.store.layout import Store

INSTALL_PLAN = "blueprint"
_MAGIC = b"pipm blueprint 3\n"
_PREFIX = struct.Struct("<17sIII")
"""The header: magic, length of the first part, checksums of both parts."""
_CHUNK = 1 << 16


def load_install_plan(store: Store, entry: str, *, modules: bool = True) -> InstallPlan:
    """Read the install plan of the complete *entry* (a path below ``wheels/``), or make it.

    If only a layer has the entry, the plan is the layer's. Without *modules* the plan has no ``folders``, and
    reading takes a third of the time. Raises StoreError if the entry cannot be installed.
    """
    store = home_of(store, entry)
    try:
        file = os.open(
            f"wheels/{entry}/{INSTALL_PLAN}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store.v1
        )
    except FileNotFoundError:
        return _made(store, entry)
    try:
        parts = _read(file, modules=modules)
    finally:
        os.close(file)
    if parts is None:
        return _made(store, entry)
    first, second = parts
    name, version, metadata, metadata_folders, copies, data_files, record, scripts = marshal.loads(first)  # noqa: S302 - pipm wrote it
    return InstallPlan(
        name,
        version,
        metadata,
        tuple(map(PlanFolder._make, metadata_folders)),
        tuple(map(PlanFolder._make, marshal.loads(second) if second else ())),  # noqa: S302 - by its checksum
        copies,
        tuple(map(DataFile._make, data_files)),
        record,
        scripts,
    )


def _read(file: int, *, modules: bool) -> tuple[bytes, bytes] | None:
    """Return the two parts of the open *file*, the second only with *modules*; None if it is damaged.

    The file is written without a sync: after a power cut it may contain zeros.
    """
    data = os.read(file, _CHUNK)
    if len(data) < _PREFIX.size:
        return None
    magic, length, first_sum, second_sum = _PREFIX.unpack_from(data)
    end = _PREFIX.size + length
    if magic != _MAGIC:
        return None
    while (modules or len(data) < end) and (more := os.read(file, _CHUNK if modules else end - len(data))):
        data += more
    first, second = data[_PREFIX.size : end], data[end:] if modules else b""
    whole = zlib.crc32(first) == first_sum and (not modules or zlib.crc32(second) == second_sum)
    return (first, second) if whole else None


def _made(store: Store, entry: str) -> InstallPlan:
    manifest = load_manifest(store, entry)
    try:
        install_plan = install_plan_of(manifest, _scripts(store, entry, manifest))
    except ValueError as error:
        raise StoreError(
            f"The store's entry {entry} cannot be installed: {error}",
            hint=f"remove {store.path}/v1/wheels/{entry}; the next sync fetches it again",
        ) from error
    data = _written(install_plan)
    if store.tmp >= 0:  # not a layer
        with opened(open_directory_beneath(store.v1, f"wheels/{entry}")) as folder:
            write_durably(folder, INSTALL_PLAN, data, Durability.LATER)
    return install_plan


def _written(install_plan: InstallPlan) -> bytes:
    """Serialise the plan for `_read`: the folders of modules are the second part."""
    fields = install_plan._asdict()
    folders = fields.pop("folders")
    first, second = (marshal.dumps(_plain(part), 4) for part in (tuple(fields.values()), folders))
    return _PREFIX.pack(_MAGIC, len(first), zlib.crc32(first), zlib.crc32(second)) + first + second


def _plain(part: Any) -> Any:  # noqa: ANN401 - marshal accepts tuples, but not named ones
    return tuple(map(_plain, part)) if isinstance(part, tuple) else part


def _scripts(store: Store, entry: str, manifest: Manifest) -> tuple[tuple[str, bytes], ...]:
    """Return the scripts of entry points as `installer` writes them, without the environment's first line."""
    ending = ".dist-info/entry_points.txt"
    path = next((e.path for e in manifest.files if e.path.endswith(ending) and e.path.count("/") == 2), None)
    if path is None:
        return ()
    from installer.scripts import Script  # noqa: PLC0415 - it takes 40 ms, once for each entry

    from pipm.wheel.entry_points import parse_entry_points  # noqa: PLC0415

    file = open_beneath(store.v1, f"wheels/{entry}/{path}", os.O_RDONLY)
    with open(file, "rb") as stream:
        try:
            points = parse_entry_points(stream.read())
        except ValueError as error:
            raise ValueError(f"its entry_points.txt: {error}") from error
    scripts = []
    for name, module, attribute, section in points:
        _, code = Script(name, module, attribute, section).generate("/python", "posix")
        scripts.append((name, code.partition(b"\n")[2]))
    return tuple(scripts)
