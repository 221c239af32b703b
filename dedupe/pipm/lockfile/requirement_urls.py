"""Requirements that are a URL, a path or a repository instead of a name and a version."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from pipm.core.pins import Archive, Repository, SourceFolder
from pipm.lockfile.pyproject import load_project
from pipm.lockfile.target_match import archive_name, is_archive, is_variant, variant_error

if TYPE_CHECKING:
    from pipm.lockfile.checked_table import LockTable
    from pipm.lockfile.requirement_lines import Line

_SYSTEM = re.compile(r"(?P<vcs>git|hg|svn|bzr)\+(?P<url>.+)")
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*])?\s*@")
_EXTRAS = re.compile(r"\[[^]/]*]$")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHORT_COMMIT = re.compile(r"(?=[a-f]*[0-9])[0-9a-f]{7,39}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Direct:
    """A requirement by URL, path or repository; ``version`` is None if only a build shows it."""

    name: str
    version: str | None
    origin: Archive | Repository | SourceFolder


def is_direct(line: Line) -> bool:
    """Return True if a line starts with a URL or path, unlike ``name @ url``."""
    text = line.text
    if _NAMED.match(text):
        return False
    if line.editable:
        return True
    start = text.split(";")[0].split()[0] if text.split(";")[0].strip() else ""
    return (
        "://" in start
        or start.startswith((".", "/", "~"))
        or is_archive(_EXTRAS.sub("", start))
        or "/" in start
    )


def direct(text: str, line: Line, *, name: str | None = None) -> Direct:
    """Read a URL or path; *name* is the name before ``@``. Raises LockError if it pins nothing."""
    address = text if os.path.isdir(line.table.absolute(text)) else _EXTRAS.sub("", text)
    system = _SYSTEM.fullmatch(address)
    try:
        parts = urlsplit(system["url"] if system else address)
        fragment = {key: values[0] for key, values in parse_qs(parts.fragment).items()}
    except ValueError:
        raise line.table.error(f"{address!r} is not a valid URL") from None
    name = name or _EXTRAS.sub("", fragment.get("egg", "")) or None
    if system:
        origin = _repository(line.table, system["vcs"], system["url"], fragment.get("subdirectory"))
        return Direct(name=_known(line.table, name, address), version=None, origin=origin)
    if "://" in address and parts.scheme != "file":
        return _archive(line.table, address, fragment, name)
    path = unquote(parts.path) if parts.scheme else address.partition("#")[0]
    return _local(line, path, fragment, name)


def _known(table: LockTable, name: str | None, address: str) -> str:
    if not name:
        raise table.error(f"{address} does not contain its name", hint="write it as `name @ address`")
    return name


def _archive(table: LockTable, url: str, fragment: dict[str, str], name: str | None) -> Direct:
    plain = url.partition("#")[0]
    file_name = archive_name(table, plain)
    own, version = _from_file(table, file_name)
    origin = Archive(
        file_name=file_name,
        url=plain,
        hashes=_hashes(table, fragment),
        subdirectory=fragment.get("subdirectory"),
    )
    return Direct(name=_known(table, name or own, url), version=version, origin=origin)


def _local(line: Line, path: str, fragment: dict[str, str], name: str | None) -> Direct:
    where = line.table.absolute(os.path.expanduser(path))
    if is_archive(where) and not os.path.isdir(where):
        file_name = archive_name(line.table, where)
        own, version = _from_file(line.table, file_name)
        archive = Archive(file_name=file_name, path=where, hashes=_hashes(line.table, fragment))
        return Direct(name=_known(line.table, name or own, path), version=version, origin=archive)
    subdirectory = fragment.get("subdirectory")
    folder = SourceFolder(path=where, editable=line.editable, subdirectory=subdirectory)
    if not os.path.isdir(folder.project):
        raise line.table.error(
            f"there is no folder {folder.project}",
            hint="pip freeze writes paths of the machine that built a conda package:"
            " `pip list --format=freeze` writes name==version",
        )
    project = load_project(line.table.beside(folder.project))
    own = name or project.name()
    return Direct(name=_known(line.table, own, path), version=project.standard.version(), origin=folder)


def _hashes(table: LockTable, fragment: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        table.hashed(f"{name}:{fragment[name]}")
        for name in ("sha256", "sha384", "sha512")
        if name in fragment
    )


def _from_file(table: LockTable, file_name: str) -> tuple[str | None, str | None]:
    """Return name and version in the file name of a wheel or sdist."""
    if is_variant(file_name):
        raise variant_error(file_name, table)
    try:
        if file_name.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file_name)
        else:
            name, version = parse_sdist_filename(file_name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None, None
    return name, str(version)


def _repository(table: LockTable, vcs: str, url: str, subdirectory: str | None) -> Repository:
    """Read ``https://host/path@commit``; raise LockError for a branch or tag, which pins nothing."""
    plain = url.partition("#")[0]
    parts = urlsplit(plain)
    path, _, revision = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
    if vcs == "git" and _SHORT_COMMIT.fullmatch(revision):
        raise table.error(
            f"{url}: {revision} is only the beginning of a commit, which may become ambiguous",
            hint=f"write all 40 digits: git rev-parse {revision}",
        )
    if not revision or (vcs == "git" and not _COMMIT.fullmatch(revision)):
        raise table.error(f"{url} is not pinned", hint="name the commit: url@COMMIT")
    return Repository(
        vcs=vcs,
        url=urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")),
        commit=revision,
        subdirectory=subdirectory,
    )
