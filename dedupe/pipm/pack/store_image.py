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
    names: dict[str, str] = {}
    found = {f.path: f for entry, one in manifests.items() for f in _entry_files(store, entry, one, names)}
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


def _entry_files(store: Store, entry: str, manifest: Manifest, names: dict[str, str]) -> Iterator[ImageFile]:
    """Yield the files of *entry*; *names* has the first name of each object.

    An image has contents in the order of their first names. So these are the ones in the entries: what is
    imported together lies together, and is compressed together.
    """
    tree = f"v1/wheels/{manifest.label.directory}"
    for file in manifest.files:
        path = f"{tree}/{file.path}"
        if file.digest == EMPTY:
            yield ImageFile(path, file.mode)
            continue
        name = f"v1/objects/{file.object_name}"
        if name not in names:
            names[name] = path
            source = f"{store.path}/v1/wheels/{entry}/{file.path}"
            yield ImageFile(path, file.mode, source=source, digest=file.digest)
            yield ImageFile(name, file.mode, link=path)
        else:
            yield ImageFile(path, file.mode, link=names[name])
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
    found = compile_sources(list(sources.values()), interpreter, run_path, time, progress)
    compiled = {source.digest: path for source, path in found.items()}
    pool = f"v1/bytecode/{interpreter.pool('')}"
    names = {digest: f"{pool}/{key_path(bytecode_key(digest, time))}" for digest in compiled}
    first: dict[Digest, str] = {}
    for manifest in manifests.values():
        for file in manifest.files:
            if file.digest in names and file.path.startswith("site/") and file.path.endswith(".py"):
                folder, _, name = file.path.rpartition("/")
                compiled_name = f"{folder}/__pycache__/{name[:-3]}.{interpreter.cache_tag}.pyc"
                path = f"v1/wheels/{manifest.label.directory}/{compiled_name}"
                if file.digest in first:
                    yield ImageFile(path, 0o444, link=first[file.digest])
                    continue
                first[file.digest] = path
                yield ImageFile(path, 0o444, source=compiled[file.digest])
                yield ImageFile(names[file.digest], 0o444, link=path)
