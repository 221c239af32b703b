"""The sources of packages in ``pdm.lock``."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.lockfile.target_match import archive_name, checked_name, is_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.lockfile.checked_table import LockTable
    from pipm.lockfile.pyproject import Project
    from pipm.lockfile.target_match import TargetMatch

_SYSTEMS = ("git", "hg", "svn", "bzr")


def pdm_pin(fit: TargetMatch, package: LockTable, metadata: LockTable, project: Project) -> Pin:
    """Return the pin of one package; older formats keep the hashes in *metadata*."""
    name, version = package.name(), package.version()
    origin = _origin(package)
    if origin is not None:
        fit.check_wheel(origin, package, name, version)
        return Pin(name=name, version=version, origin=origin, where=package.where)
    wheels, sdist = fit.choose(_files(package, metadata), _archive)
    if not wheels and sdist is None:
        raise fit.missing(package, name, version)
    index, options = _indexes(project, name)
    return Pin(
        name=name,
        version=version,
        wheels=wheels,
        sdist=sdist,
        index_url=index,
        options=options,
        where=package.where,
    )


def _files(package: LockTable, metadata: LockTable) -> Iterator[tuple[str, LockTable]]:
    tables = package.tables("files")
    if "files" not in package.content:  # PDM before 2.8
        tables = metadata.table("files").tables(f"{package.text('name')} {package.text('version')}")
    for table in tables:
        url = table.text("url")
        name = archive_name(table, url) if url else checked_name(table, table.required("file"))
        yield name, table


def _archive(name: str, table: LockTable) -> Archive:
    text, url = table.text("hash"), table.text("url")
    local = unquote(urlsplit(url).path) if url and url.startswith("file://") else None
    return Archive(
        file_name=name,
        url=None if local else url,
        path=local,
        hashes=(table.hashed(text),) if text else (),
    )


def _origin(package: LockTable) -> Archive | Repository | SourceFolder | None:
    subdirectory = package.text("subdirectory")
    for vcs in _SYSTEMS:
        url = package.text(vcs)
        if url:
            return _repository(package, vcs, url, subdirectory)
    path, url = package.text("path"), package.text("url")
    if url and url.startswith("file://"):
        path, url = unquote(urlsplit(url).path).replace("/${PROJECT_ROOT}", package.folder), None
    hashes = [table.hashed(text) for table in package.tables("files") if (text := table.text("hash"))]
    if path:
        where = package.absolute(path.replace("${PROJECT_ROOT}", package.folder))
        if is_archive(path) and not os.path.isdir(where):
            name = archive_name(package, path)
            return Archive(file_name=name, path=where, hashes=tuple(hashes[:1]), subdirectory=subdirectory)
        return SourceFolder(path=where, editable=package.flag("editable"), subdirectory=subdirectory)
    if url:
        name = archive_name(package, url)
        return Archive(file_name=name, url=url, hashes=tuple(hashes[:1]), subdirectory=subdirectory)
    return None


def _repository(package: LockTable, vcs: str, url: str, subdirectory: str | None) -> Repository:
    return Repository(
        vcs=vcs,
        url=url.removeprefix(f"{vcs}+"),
        # For an editable repository PDM locks the branch, not a commit.
        commit=package.text("revision") or package.required("ref"),
        requested_revision=package.text("ref"),
        subdirectory=subdirectory,
    )


def _indexes(project: Project, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the main index for *name* in the project's settings, and pip's options for others, like PDM.

    A source that lists the distribution excludes the others. The source named pypi replaces the default
    index, which otherwise is that of pip's settings.
    """
    sources = project.tool("pdm").tables("source")
    listed = [source for source in sources if _lists(source, "include_packages", name)]
    rest = [source for source in sources if not _lists(source, "exclude_packages", name)]
    main: str | None = None
    options: list[str] = []
    for source in listed or rest:
        url = source.required("url").replace("/${PROJECT_ROOT}", quote(project.table.folder))
        if source.text("type") == "find_links":
            options += ["--find-links", url if "://" in url else project.table.absolute(url)]
        elif main is None and (listed or source.text("name") == "pypi"):
            main = url
        else:
            options += ["--extra-index-url", url]
    return main, tuple(options)


def _lists(source: LockTable, key: str, name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in source.texts(key))
