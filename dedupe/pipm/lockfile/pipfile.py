"""Reading ``Pipfile.lock`` of pipenv: categories of pins for one version of Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.specifiers import SpecifierSet

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.lockfile.checked_table import LockTable, load_json
from pipm.lockfile.target_match import TargetMatch, archive_name, is_archive

if TYPE_CHECKING:
    from pipm.core.selection import Selection
    from pipm.core.target import Target

_FORMAT = 6
_DEFAULT = "default"
_DEVELOP = "develop"


def read_pipfile(path: str, target: Target, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Read a lock of pipenv; raise LockError if it is invalid or does not fit.

    Groups are its categories except ``default``; ``dev`` means ``develop``. Like `pipenv sync`, this installs
    only selected groups.
    """
    root = load_json(path)
    meta = root.table("_meta")
    if meta.number("pipfile-spec") != _FORMAT:
        raise meta.error(
            f"version {meta.content.get('pipfile-spec')!r} of the format is unknown",
            hint="lock again with pipenv",
        )
    fit = TargetMatch(target)
    _check_python(fit, meta.table("requires"))
    categories = [key for key in root.content if key not in ("_meta", _DEFAULT)]
    chosen = [_DEVELOP if group == "dev" else group for group in selection.groups]
    root.check_known("extra", selection.extras, ())
    root.check_known("group", chosen, categories)
    found: dict[str, tuple[Pin, LockTable]] = {}
    for category in [_DEFAULT, *(key for key in categories if key in chosen)]:
        for name, package in root.table(category).children():
            marker = package.text("markers")
            if marker and not fit.holds(marker, package):
                continue
            with package.checking():
                pin = _pin(fit, package, package.normalised(name), meta)
            # Categories are locked together, so their pins agree; if not, the first counts, like in pipenv.
            found.setdefault(pin.name, (pin, package))
    return list(found.values())


def _check_python(fit: TargetMatch, requires: LockTable) -> None:
    version, full = requires.text("python_version"), requires.text("python_full_version")
    for wanted in (f"{version}.*" if version else None, full):
        if wanted and not fit.allows_python(f"=={wanted}", requires):
            raise fit.wrong_python(wanted, requires)


def _pin(fit: TargetMatch, package: LockTable, name: str, meta: LockTable) -> Pin:
    origin = _origin(package)
    if origin is not None:
        fit.check_wheel(origin, package, name, None)
        return Pin(
            name=name, version=_version(package, name, direct=True), origin=origin, where=package.where
        )
    index, options = _indexes(package, meta)
    return Pin(
        name=name,
        version=_version(package, name, direct=False),
        hashes=tuple(package.hashed(text) for text in package.texts("hashes")),
        index_url=index,
        options=options,
        where=package.where,
    )


def _version(package: LockTable, name: str, *, direct: bool) -> str | None:
    text = package.text("version")
    try:
        specifiers = list(SpecifierSet(text or ""))
    except ValueError:
        specifiers = []
    if len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version:
        version = LockTable({"version": specifiers[0].version}, package.file, package.where)
        return version.version()
    if direct:
        return None
    raise package.error(
        f"{name} is not pinned, its version is {text!r}", hint="lock again with this Python (pipenv lock)"
    )


def _origin(package: LockTable) -> Archive | Repository | SourceFolder | None:
    subdirectory = package.text("subdirectory")
    for vcs in ("git", "hg", "svn", "bzr"):
        url = package.text(vcs)
        if url:
            return Repository(vcs=vcs, url=url, commit=package.required("ref"), subdirectory=subdirectory)
    text = package.text("file") or package.text("path") or package.text("uri")
    if text is None:
        return None
    hashes = tuple(package.hashed(value) for value in package.texts("hashes"))
    if "://" in text and not text.startswith("file://"):
        name = archive_name(package, text)
        return Archive(file_name=name, url=text, hashes=hashes[:1], subdirectory=subdirectory)
    path = package.absolute(unquote(urlsplit(text).path) if text.startswith("file://") else text)
    if is_archive(path) and not os.path.isdir(path):
        return Archive(
            file_name=archive_name(package, path), path=path, hashes=hashes[:1], subdirectory=subdirectory
        )
    return SourceFolder(path=path, editable=package.flag("editable"), subdirectory=subdirectory)


def _indexes(package: LockTable, meta: LockTable) -> tuple[str | None, tuple[str, ...]]:
    """Return the package's own index, otherwise the lock's first; like pipenv, ask no other one."""
    name = package.text("index")
    if name and "://" in name:
        return name, ()
    sources = meta.tables("sources")
    for source in [one for one in sources if one.text("name") == name] or sources[:1]:
        url = _without_variables(source.required("url"))
        if "$" in url:
            raise source.error(
                f"the index {url} has a variable, which pipm replaces only in requirements.txt",
                hint="only user and password may be variables; pip gets these from a netrc file, a keyring,"
                " or PIP_INDEX_URL with the same host",
            )
        trusted = source.content.get("verify_ssl") is False
        return url, ("--trusted-host", urlsplit(url).netloc.rpartition("@")[2]) if trusted else ()
    return None, ()


def _without_variables(url: str) -> str:
    """Return *url* without a login that has variables.

    The values of variables are secret, and an untrusted lock could name any host. pip finds the user's login
    for the host itself.
    """
    scheme, separator, rest = url.partition("://")
    login, at, host = rest.partition("/")[0].rpartition("@")
    return f"{scheme}://{rest[len(login) + 1 :]}" if separator and at and "$" in login and host else url
