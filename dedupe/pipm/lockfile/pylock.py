"""Reading ``pylock.toml`` (PEP 751): packaging parses it and selects the packages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from packaging.pylock import Pylock, PylockSelectError, PylockUnsupportedVersionError, PylockValidationError
from packaging.tags import Tag

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.lockfile.checked_table import LockTable, load_toml
from pipm.lockfile.target_match import TargetMatch, archive_name, checked_name, is_variant, variant_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packaging.markers import Environment
    from packaging.pylock import Package, PackageArchive, PackageSdist, PackageVcs, PackageWheel

    from pipm.core.selection import Selection
    from pipm.core.target import Target


def read_pylock(path: str, target: Target, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Read a pylock file; raise LockError if it is invalid or does not fit."""
    root = _without_variants(load_toml(path))
    try:
        lock = Pylock.from_dict(root.content)
    except PylockUnsupportedVersionError as error:
        raise root.error(str(error), hint="lock again with a tool that writes version 1.0") from None
    except PylockValidationError as error:
        raise root.error(error.message, key=error.context or "") from None
    except (ValueError, RecursionError) as error:
        raise root.error(str(error)) from None
    chosen, groups = _selected(root, lock, selection)
    fit = TargetMatch(target, extras=chosen, groups=groups)
    places = {id(package): index for index, package in enumerate(lock.packages)}
    try:
        packages = [
            package
            for package, _ in lock.select(
                environment=_environment(target),
                tags=[Tag(*tag.split("-")) for tag in target.tags],
                extras=chosen,
                dependency_groups=groups,
            )
        ]
    except PylockSelectError as error:
        raise root.error(
            str(error), hint="lock again for this interpreter, or create the environment with another"
        ) from None
    except (ValueError, KeyError, RecursionError) as error:
        raise root.error(f"a marker cannot be evaluated: {error}") from None
    tables = [LockTable({}, path, f"packages[{places[id(package)]}]") for package in packages]
    found = []
    for package, table in zip(packages, tables, strict=True):
        with table.checking():
            found.append((_pin(fit, table, package), table))
    return found


def _without_variants(root: LockTable) -> LockTable:
    """Remove variant wheels, because `Pylock` would reject the whole lock.

    Raises LockError if a package has no other file.
    """
    packages = []
    for package in root.tables("packages"):
        content = dict(package.content)
        variants = [table for table in package.tables("wheels") if is_variant(_name_of(table))]
        if variants:
            rest = [table for table in package.tables("wheels") if not is_variant(_name_of(table))]
            if not rest and "sdist" not in content:
                raise variant_error(_name_of(variants[0]), variants[0])
            content |= {"wheels": [table.content for table in rest]}
        packages.append(content)
    return (
        LockTable({**root.content, "packages": packages}, root.file) if "packages" in root.content else root
    )


def _name_of(wheel: LockTable) -> str:
    return wheel.text("name") or (wheel.text("path") or wheel.text("url") or "").rpartition("/")[2]


def _environment(target: Target) -> Environment:
    return dict(target.markers)  # type: ignore[return-value] # it has the keys of packaging's Environment


def _selected(root: LockTable, lock: Pylock, selection: Selection) -> tuple[frozenset[str], frozenset[str]]:
    extras = frozenset(root.normalised(name) for name in selection.extras)
    groups = frozenset(selection.groups)
    root.check_known("extra", extras, lock.extras or ())
    root.check_known("group", groups, (*(lock.dependency_groups or ()), *(lock.default_groups or ())))
    return extras, groups | frozenset(lock.default_groups or ()) if selection.default_groups else groups


def _pin(fit: TargetMatch, table: LockTable, package: Package) -> Pin:
    wheels, sdist = _files(fit, table, package)
    return Pin(
        name=package.name,
        version=str(package.version) if package.version is not None else None,
        wheels=wheels,
        sdist=sdist,
        origin=_origin(fit, table, package),
        index_url=package.index,
        where=table.where,
    )


def _origin(
    fit: TargetMatch, table: LockTable, package: Package
) -> Archive | Repository | SourceFolder | None:
    if package.vcs is not None:
        return _repository(table, package.vcs)
    if package.directory is not None:
        folder = package.directory
        return SourceFolder(
            path=table.absolute(folder.path),
            editable=bool(folder.editable),
            subdirectory=folder.subdirectory,
        )
    if package.archive is None:
        return None
    archive = _archive(table, package.archive, "", subdirectory=package.archive.subdirectory)
    fit.check_wheel(archive, table, package.name, str(package.version or ""))
    return archive


def _repository(table: LockTable, vcs: PackageVcs) -> Repository:
    return Repository(
        vcs=vcs.type,
        url=vcs.url or f"file://{quote(table.absolute(vcs.path or ''))}",
        commit=vcs.commit_id,
        requested_revision=vcs.requested_revision,
        subdirectory=vcs.subdirectory,
    )


def _files(
    fit: TargetMatch, table: LockTable, package: Package
) -> tuple[tuple[Archive, ...], Archive | None]:
    """Choose like `Pylock.select`, but keep each compatible wheel: the store may have another one."""
    files: dict[str, PackageWheel | PackageSdist] = {}
    for wheel in package.wheels or ():
        files.setdefault(wheel.filename, wheel)
    wheels, _ = fit.choose(
        ((name, table) for name in files), lambda name, place: _archive(place, files[name], name)
    )
    source = package.sdist
    return wheels, _archive(table, source, source.filename) if source is not None else None


def _archive(
    table: LockTable,
    found: PackageWheel | PackageSdist | PackageArchive,
    name: str,
    *,
    subdirectory: str | None = None,
) -> Archive:
    path, url = _local(table, found.path, found.url)
    return Archive(
        file_name=checked_name(table, name) if name else archive_name(table, found.path or found.url or ""),
        url=url,
        path=path,
        size=found.size,
        hashes=tuple(_hashes(table, found.hashes)),
        subdirectory=subdirectory,
    )


def _local(table: LockTable, path: str | None, url: str | None) -> tuple[str | None, str | None]:
    """Return (absolute path, url); a ``file:`` URL is a path."""
    if path:
        return table.absolute(path), None
    if url and url.startswith("file://"):
        return unquote(urlsplit(url).path), None
    return None, url


def _hashes(table: LockTable, hashes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the hashes that pipm can check."""
    known = {name: value for name, value in hashes.items() if name in ("sha256", "sha384", "sha512")}
    if not known:
        raise table.error(f"none of {', '.join(sorted(hashes))} is a hash that pipm can check")
    for name, value in sorted(known.items()):
        yield table.hashed(f"{name}:{value}")
