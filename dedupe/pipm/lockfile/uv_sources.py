"""The sources of packages in ``uv.lock``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.lockfile.target_match import archive_name, checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.lockfile.checked_table import LockTable
    from pipm.lockfile.target_match import TargetMatch


def uv_pin(fit: TargetMatch, package: LockTable) -> Pin | None:
    """Return the pin of one package; None for a project that is not installed (``virtual``)."""
    name, version, source = package.name(), package.version(), package.table("source")
    if source.text("virtual") is not None:
        return None
    registry = source.text("registry")
    if registry is not None:
        return _registry_pin(fit, package, name, version, registry)
    origin = _origin(package, source)
    fit.check_wheel(origin, package, name, version)
    return Pin(name=name, version=version, origin=origin, where=package.where)


def _registry_pin(fit: TargetMatch, package: LockTable, name: str, version: str | None, registry: str) -> Pin:
    local = "" if "://" in registry else registry
    wheels, sdist = fit.choose(_files(package), lambda file, table: _archive(file, table, local))
    if not wheels and sdist is None:
        raise fit.missing(package, name, version)
    return Pin(
        name=name,
        version=version,
        wheels=wheels,
        sdist=sdist,
        index_url=None if local else registry,
        where=package.where,
    )


def _files(package: LockTable) -> Iterator[tuple[str, LockTable]]:
    tables = package.tables("wheels")
    if "sdist" in package.content:
        tables.append(package.table("sdist"))
    for table in tables:
        content = table.content
        url = content.get("url")
        if isinstance(url, str) and "%" not in url and "?" not in url and "#" not in url:
            name = url[url.rfind("/") + 1 :]  # nearly all URLs; parsing takes longer
        else:
            name = table.text("filename") or archive_name(table, table.text("path") or table.required("url"))
        yield name, table


def _archive(name: str, table: LockTable, local: str) -> Archive:
    """Return the archive of a file; *local* is the folder that serves as its index, or ""."""
    text, url, path = table.text("hash"), table.text("url"), table.text("path")
    if url and url.startswith("file://"):
        url, path = None, unquote(urlsplit(url).path)
    return Archive(
        file_name=checked_name(table, name),
        url=url,
        path=table.absolute(f"{local}/{path}" if local and not path.startswith("/") else path)
        if path
        else None,
        size=table.number("size"),
        hashes=(table.hashed(text),) if text else (),
    )


def _origin(package: LockTable, source: LockTable) -> Archive | Repository | SourceFolder:
    subdirectory = source.text("subdirectory")
    for key in ("editable", "directory"):
        path = source.text(key)
        if path is not None:
            return SourceFolder(
                path=source.absolute(path), editable=key == "editable", subdirectory=subdirectory
            )
    git, url, path = source.text("git"), source.text("url"), source.text("path")
    if git is not None:
        return _repository(source, git)
    if url is None and path is None:
        raise source.error(f"the source {sorted(source.content)} is unknown", hint="pipm may be too old")
    if url and url.startswith("file://"):
        url, path = None, unquote(urlsplit(url).path)
    return Archive(
        file_name=archive_name(source, url or path or ""),
        url=url,
        path=source.absolute(path) if path else None,
        size=next((table.number("size") for table in _archive_table(package)), None),
        hashes=tuple(table.hashed(table.required("hash")) for table in _archive_table(package))[:1],
        subdirectory=subdirectory,
    )


def _archive_table(package: LockTable) -> list[LockTable]:
    """Return the table of the file for a package that is a single file."""
    tables = [*package.tables("wheels"), package.table("sdist")]
    return [table for table in tables if "hash" in table.content]


def _repository(source: LockTable, git: str) -> Repository:
    """Read ``url?rev=…&subdirectory=…#commit``."""
    try:
        parts = urlsplit(git)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    except ValueError:
        raise source.error(f"{git!r} is not a valid URL") from None
    if not parts.fragment:
        raise source.error(f"{git!r} has no commit")
    return Repository(
        vcs="git",
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
        commit=parts.fragment,
        requested_revision=query.get("rev") or query.get("tag") or query.get("branch"),
        subdirectory=query.get("subdirectory"),
    )
