"""The sources of packages in ``poetry.lock``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.lockfile.target_match import archive_name, checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.lockfile.checked_table import LockTable
    from pipm.lockfile.target_match import TargetMatch


def poetry_pin(fit: TargetMatch, package: LockTable, metadata: LockTable) -> Pin:
    """Return the pin of one package; older formats keep the hashes in *metadata*."""
    name, version, source = package.name(), package.version(), package.table("source")
    kind = source.text("type")
    if kind not in (None, "legacy", "pypi"):
        origin = _origin(package, source, kind or "", metadata)
        fit.check_wheel(origin, package, name, version)
        return Pin(name=name, version=version, origin=origin, where=package.where)
    index = source.text("url") if kind == "legacy" else None
    hashes = metadata.table("hashes")
    if "files" not in package.content and hashes.content:
        pairs = tuple(package.hashed(f"sha256:{text}") for text in hashes.texts(package.required("name")))
        return Pin(name=name, version=version, hashes=pairs, index_url=index, where=package.where)
    files = _files(package, metadata, version)
    wheels, sdist = fit.choose(
        ((checked_name(table, table.required("file")), table) for table in files), _archive
    )
    if not wheels and sdist is None:
        raise fit.missing(package, name, version)
    return Pin(name=name, version=version, wheels=wheels, sdist=sdist, index_url=index, where=package.where)


def _archive(name: str, table: LockTable) -> Archive:
    text = table.text("hash")
    return Archive(
        file_name=name,
        url=table.text("url"),
        size=table.number("size"),
        hashes=(table.hashed(text),) if text else (),
    )


def _files(package: LockTable, metadata: LockTable, version: str | None) -> Iterator[LockTable]:
    """Yield the files of a package; Poetry before 1.3 lists the files of all versions together."""
    if "files" in package.content:
        yield from package.tables("files")
        return
    for table in metadata.table("files").tables(package.required("name")):
        if version is not None and _version_of(package, table.required("file")) == Version(version):
            yield table


def _version_of(package: LockTable, file_name: str) -> Version | None:
    """Return the version in the name of a file of *package*, or None."""
    if file_name.endswith(".whl"):
        text = file_name.split("-")[1] if "-" in file_name else ""
    else:
        text = file_name[len(package.required("name")) + 1 :]
        for ending in (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar"):
            text = text.removesuffix(ending)
    try:
        return Version(text)
    except ValueError:
        return None


def _origin(
    package: LockTable, source: LockTable, kind: str, metadata: LockTable
) -> Archive | Repository | SourceFolder:
    url, subdirectory = source.required("url"), source.text("subdirectory")
    if kind == "git":
        return Repository(
            vcs="git",
            url=url,
            commit=source.required("resolved_reference"),
            requested_revision=source.text("reference"),
            subdirectory=subdirectory,
        )
    if kind == "directory":
        return SourceFolder(
            path=source.absolute(url), editable=package.flag("develop"), subdirectory=subdirectory
        )
    if kind not in ("file", "url"):
        raise source.error(f"the source {kind!r} is unknown", hint="pipm may be too old")
    name = archive_name(source, url)
    hashes = [
        table.hashed(table.required("hash"))
        for table in _files(package, metadata, package.version())
        if table.text("file") == name
    ]
    return Archive(
        file_name=name,
        url=url if kind == "url" else None,
        path=source.absolute(url) if kind == "file" else None,
        hashes=tuple(hashes[:1]),
        subdirectory=subdirectory,
    )
