"""An image that is a store: stores with it in ``PIPM_STORE_LAYERS`` take entries and bytecode from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.core.bytecode import bytecode_key, key_path
from pipm.core.digest import EMPTY, Digest
from pipm.errors import StoreError
from pipm.fs.image_files import DIRECTORY, ImageFile
from pipm.pack.compile_image import ImageModule, compile_sources
from pipm.store.entries import LIBRARY, MANIFEST, MODULES, SITE, load_manifest, served_names
from pipm.store.objects import object_mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.context.progress import Progress
    from pipm.core.manifest import Manifest
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_NANOSECONDS = 1_000_000_000


def store_image(
    store: Store,
    entries: Sequence[str],
    interpreter: Interpreter | None,
    run_path: str,
    time: int,
    progress: Progress,
) -> list[ImageFile]:
    """Return the files of a store with *entries* and their bytecode, all with one *time*."""
    manifests = {entry: _timed(load_manifest(store, entry), time) for entry in entries}
    found = {file.path: file for entry, one in manifests.items() for file in _entry_files(store, entry, one)}
    for folder in ("objects", "bytecode", "wheels", "by-wheel"):
        found[f"v1/{folder}"] = ImageFile(f"v1/{folder}", DIRECTORY)
    for entry in manifests.values():
        found |= {file.path: file for file in _served_folders(entry)}
    if interpreter is not None:
        for file in _bytecode(store, manifests, interpreter, run_path, time, progress):
            found[file.path] = file
    return list(found.values())


def _timed(manifest: Manifest, time: int) -> Manifest:
    if manifest.partial:
        raise StoreError(
            f"{manifest.name} {manifest.version} is incomplete in the store", hint="pipm sync completes it"
        )
    files = [
        file._replace(
            mode=object_mode(executable=file.executable, writable=file.writable),
            mtime_ns=time * _NANOSECONDS,
        )
        for file in manifest.files
    ]
    wheels = tuple(sorted(manifest.wheels))
    return replace(manifest, origin="image", files=tuple(sorted(files)), wheels=wheels)


def _entry_files(store: Store, entry: str, manifest: Manifest) -> Iterator[ImageFile]:
    tree = f"v1/wheels/{manifest.label.directory}"
    for file in manifest.files:
        path = f"{tree}/{file.path}"
        if file.digest == EMPTY:
            yield ImageFile(path, file.mode)
            continue
        name = f"v1/objects/{file.object_name}"
        source = f"{store.path}/v1/wheels/{entry}/{file.path}"
        yield ImageFile(name, file.mode, source=source, digest=file.digest)
        yield ImageFile(path, file.mode, link=name)
    yield ImageFile(f"{tree}/{MANIFEST}", data=manifest.to_json())
    for wheel in manifest.wheels:
        yield ImageFile(f"v1/by-wheel/{wheel.hex()}", data=f"{manifest.label.directory}\n".encode())


def _served_folders(manifest: Manifest) -> Iterator[ImageFile]:
    """Yield what `served_folder` makes in an entry: a layer is read-only."""
    tree = f"v1/wheels/{manifest.label.directory}"
    yield ImageFile(f"{tree}/{LIBRARY}", symlink=SITE)
    yield ImageFile(f"{tree}/{MODULES}", DIRECTORY)
    paths = [file.path.split("/") for file in manifest.files]
    for name in served_names({parts[1] for parts in paths if parts[0] == SITE}):
        yield ImageFile(f"{tree}/{MODULES}/{name}", symlink=f"../../{SITE}/{name}")


def _bytecode(
    store: Store,
    manifests: dict[str, Manifest],
    interpreter: Interpreter,
    run_path: str,
    time: int,
    progress: Progress,
) -> Iterator[ImageFile]:
    sources: dict[Digest, ImageModule] = {}
    for entry, manifest in manifests.items():
        for file in manifest.files:
            if file.path.startswith("site/") and file.path.endswith(".py"):
                path = f"{store.path}/v1/wheels/{entry}/{file.path}"
                known = ImageModule(path, file.digest, file.size, file.path.removeprefix("site/"))
                sources.setdefault(file.digest, known)
    compiled = compile_sources(list(sources.values()), interpreter, run_path, time, progress)
    pool = f"v1/bytecode/{interpreter.pool('')}"
    names = {source.digest: f"{pool}/{key_path(bytecode_key(source.digest, time))}" for source in compiled}
    for source, path in compiled.items():
        yield ImageFile(names[source.digest], 0o444, source=path)
    for manifest in manifests.values():
        for file in manifest.files:
            if file.digest in names and file.path.startswith("site/") and file.path.endswith(".py"):
                folder, _, name = file.path.rpartition("/")
                compiled_name = f"{folder}/__pycache__/{name[:-3]}.{interpreter.cache_tag}.pyc"
                path = f"v1/wheels/{manifest.label.directory}/{compiled_name}"
                yield ImageFile(path, 0o444, link=names[file.digest])
