"""An image of a whole environment, that runs where it is mounted or unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.install_plan import record_rows
from pipm.core.plan.materialise_plan import Wanted, at_hand
from pipm.core.scheme import Scheme
from pipm.errors import CollisionError, StoreError
from pipm.fs.image_files import ImageFile
from pipm.pack.compile_image import ImageModule, compile_sources
from pipm.store.entries import load_manifest
from pipm.sync.installer_files import scripts_of
from pipm.wheel.environment_files import INSTALLER, record_digest_of
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.progress import Progress
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store


def environment_scheme(version: str, prefix: str) -> Scheme:
    """Return where things go in an environment of CPython *version* (``3.12``) at *prefix*."""
    return Scheme(f"lib/python{version}/site-packages", f"{prefix}/bin/python")


def environment_base(version: str, home: str) -> list[ImageFile]:
    """Return what an environment is without distributions; its interpreter is ``home/python3.12``."""
    text = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
    names = ("python3", f"python{version}")
    return [
        ImageFile("pyvenv.cfg", data=text.encode()),
        ImageFile("bin/python", symlink=f"{home}/python{version}"),
        *(ImageFile(f"bin/{name}", symlink="python") for name in names),
    ]


def distribution_images(
    store: Store,
    entries: Sequence[str],
    scheme: Scheme,
    interpreter: Interpreter | None,
    run_path: str,
    time: int,
    progress: Progress,
) -> dict[str, list[ImageFile]]:
    """Return the files of each of *entries* in an environment of this *scheme*, with bytecode and RECORD."""
    images = {entry: _files(store, entry, scheme) for entry in entries}
    compiled: dict[ImageModule, str] = {}
    if interpreter is not None:
        sources = [one for image in images.values() for one in _sources(image, scheme)]
        compiled = compile_sources(sources, interpreter, run_path, time, progress)
        for image in images.values():
            for source in _sources(image, scheme):
                if source in compiled:
                    folder, _, name = source.filename.rpartition("/")
                    path = f"{folder}/__pycache__/{name[:-3]}.{interpreter.cache_tag}.pyc"
                    path = path.removeprefix(f"{_prefix(scheme)}/")
                    image.append(ImageFile(path, 0o644, source=compiled[source]))
    return {entry: [*image, _record(store, entry, scheme, image)] for entry, image in images.items()}


def merged(images: Iterable[list[ImageFile]]) -> list[ImageFile]:
    """Return the files of all *images*; CollisionError where two differ at one path."""
    found: dict[str, ImageFile] = {}
    for file in (file for image in images for file in image):
        other = found.setdefault(file.path, file)
        if (other.digest, other.data) != (file.digest, file.data):
            raise CollisionError(
                f"Two distributions bring different files {file.path}", hint="leave one of them out"
            )
    return list(found.values())


def _prefix(scheme: Scheme) -> str:
    return scheme.python.removesuffix("/bin/python")


def _files(store: Store, entry: str, scheme: Scheme) -> list[ImageFile]:
    manifest = load_manifest(store, entry)
    if manifest.partial:
        raise StoreError(f"{entry} is incomplete in the store", hint="pipm sync completes it")
    plan = load_install_plan(store, entry)
    image = []
    for file in sorted(manifest.files):
        kind, _, rest = file.path.partition("/")
        if kind == "scripts":
            continue
        folder = scheme.folder(kind, manifest.name)
        source = f"{store.path}/v1/wheels/{entry}/{file.path}"
        path = f"{folder}/{rest}" if folder else rest
        image.append(ImageFile(path, 0o755 if file.executable else 0o644, source=source, digest=file.digest))
    for name, data in scripts_of(store, scheme, Wanted(entry=entry, load=at_hand(plan))):
        image.append(ImageFile(f"bin/{name}", 0o755, data))
    image.append(ImageFile(f"{scheme.site}/{plan.metadata}/INSTALLER", data=INSTALLER))
    image.append(ImageFile(f"{scheme.site}/{plan.metadata}/REQUESTED"))
    return image


def _sources(image: Iterable[ImageFile], scheme: Scheme) -> list[ImageModule]:
    import os  # noqa: PLC0415

    return [
        ImageModule(file.source, file.digest, os.stat(file.source).st_size, f"{_prefix(scheme)}/{file.path}")
        for file in image
        if file.digest is not None and file.path.startswith(f"{scheme.site}/") and file.path.endswith(".py")
    ]


def _record(store: Store, entry: str, scheme: Scheme, image: Iterable[ImageFile]) -> ImageFile:
    import os  # noqa: PLC0415

    rows: list[tuple[str, str, int | str]] = []
    for file in image:
        name = scheme.recorded(file.path)
        if file.digest is not None:
            rows.append((name, file.digest.record, os.stat(file.source).st_size))
        elif file.source:
            rows.append((name, "", ""))
        else:
            rows.append((name, record_digest_of(file.data), len(file.data)))
    metadata = load_install_plan(store, entry).metadata
    rows.append((f"{metadata}/RECORD", "", ""))
    return ImageFile(f"{scheme.site}/{metadata}/RECORD", data=record_rows(sorted(rows)))
