"""Requirements that are an URL, a path or a repository instead of a name and a version."""

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

from pipm.core.pins import Archive, Folder, Repository
from pipm.lock.fit import archive_name, is_archive
from pipm.lock.project import load_project

if TYPE_CHECKING:
    from pipm.lock.requirement_lines import Line
    from pipm.lock.table import Table

_SYSTEM = re.compile(r"(?P<vcs>git|hg|svn|bzr)\+(?P<url>.+)")
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*])?\s*@")
_EXTRAS = re.compile(r"\[[^]/]*]$")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Direct:
    """What such a requirement says; ``version`` is None where only building tells it."""

    name: str
    version: str | None
    origin: Archive | Repository | Folder
    marker: str = ""


def is_direct(line: Line) -> bool:
    """Whether a line starts with an URL or path; ``name @ url`` does not."""
    text = line.text
    if line.editable:
        return True
    if _NAMED.match(text):
        return False
    start = text.split(";")[0].split()[0] if text.split(";")[0].strip() else ""
    return (
        "://" in start
        or start.startswith((".", "/", "~"))
        or is_archive(_EXTRAS.sub("", start))
        or "/" in start
    )


def direct(text: str, line: Line, *, name: str | None = None) -> Direct:
    """Read an URL or path; *name* is what stands before ``@``. Raises LockError where it pins nothing."""
    address, separator, marker = text.partition(" ;") if " ;" in text else text.partition("; ")
    address = _EXTRAS.sub("", address.strip())
    marker = marker.strip() if separator else ""
    system = _SYSTEM.fullmatch(address)
    try:
        parts = urlsplit(system["url"] if system else address)
        fragment = {key: values[0] for key, values in parse_qs(parts.fragment).items()}
    except ValueError:
        raise line.table.error(f"{address!r} is no URL") from None
    name = name or _EXTRAS.sub("", fragment.get("egg", "")) or None
    if system:
        origin = _repository(line.table, system["vcs"], system["url"], fragment.get("subdirectory"))
        return Direct(name=_known(line.table, name, address), version=None, origin=origin, marker=marker)
    if "://" in address and parts.scheme != "file":
        return _archive(line.table, address, fragment, name, marker)
    return _local(line, unquote(parts.path), fragment, name, marker)


def _known(table: Table, name: str | None, address: str) -> str:
    if not name:
        raise table.error(f"{address} does not say its name", hint="write it as `name @ address`")
    return name


def _archive(table: Table, url: str, fragment: dict[str, str], name: str | None, marker: str) -> Direct:
    plain = url.partition("#")[0]
    file_name = archive_name(table, plain)
    own, version = _from_file(file_name)
    origin = Archive(
        file_name=file_name,
        url=plain,
        hashes=_hashes(table, fragment),
        subdirectory=fragment.get("subdirectory"),
    )
    return Direct(name=_known(table, name or own, url), version=version, origin=origin, marker=marker)


def _local(line: Line, path: str, fragment: dict[str, str], name: str | None, marker: str) -> Direct:
    where = line.table.absolute(os.path.expanduser(path))
    if is_archive(where) and not os.path.isdir(where):
        file_name = archive_name(line.table, where)
        own, version = _from_file(file_name)
        archive = Archive(file_name=file_name, path=where, hashes=_hashes(line.table, fragment))
        return Direct(
            name=_known(line.table, name or own, path), version=version, origin=archive, marker=marker
        )
    subdirectory = fragment.get("subdirectory")
    folder = Folder(path=where, editable=line.editable, subdirectory=subdirectory)
    project = os.path.join(where, subdirectory or "")
    standard = load_project(line.table.beside(project)).standard
    own = name or standard.text("name")
    return Direct(
        name=_known(line.table, own, path), version=standard.version(), origin=folder, marker=marker
    )


def _hashes(table: Table, fragment: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        table.hashed(f"{name}:{fragment[name]}")
        for name in ("sha256", "sha384", "sha512")
        if name in fragment
    )


def _from_file(file_name: str) -> tuple[str | None, str | None]:
    """Name and version in the name of a wheel or sdist."""
    try:
        if file_name.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file_name)
        else:
            name, version = parse_sdist_filename(file_name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None, None
    return name, str(version)


def _repository(table: Table, vcs: str, url: str, subdirectory: str | None) -> Repository:
    """Read ``https://host/path@commit``; a branch or tag is no pin."""
    plain = url.partition("#")[0]
    parts = urlsplit(plain)
    path, _, revision = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
    if not revision or (vcs == "git" and not _COMMIT.fullmatch(revision)):
        raise table.error(f"{url} is not pinned", hint="name the commit: url@COMMIT")
    return Repository(
        vcs=vcs,
        url=urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")),
        commit=revision,
        subdirectory=subdirectory,
    )
