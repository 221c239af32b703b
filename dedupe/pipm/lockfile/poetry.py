"""Reading ``poetry.lock`` of Poetry 1 and 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from pipm.lockfile.checked_table import LockTable, load_toml
from pipm.lockfile.poetry_sources import poetry_pin
from pipm.lockfile.poetry_versions import allows
from pipm.lockfile.poetry_walk import walk_poetry
from pipm.lockfile.pyproject import Project, load_project
from pipm.lockfile.target_match import TargetMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.pins import Pin
    from pipm.core.selection import Selection
    from pipm.core.target import Target

_MAIN = "main"


def read_poetry(path: str, target: Target, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Read a lock of Poetry, with its pyproject.toml; raise LockError if it is invalid or does not fit."""
    root = load_toml(path)
    metadata = root.table("metadata")
    version = _format(metadata)
    project = load_project(root)
    extras = frozenset(root.normalised(name) for name in selection.extras)
    root.check_known("extra", extras, _extras(root, project))
    packages = root.tables("package")
    groups = _groups(root, project, packages, selection)
    fit = TargetMatch(target, extras=extras)
    check_python(fit, metadata, "The lock")
    if version >= Version("2.1"):
        chosen = [package for package in packages if _is_wanted(fit, package, groups)]
    else:
        chosen = walk_poetry(fit, project, packages, groups, extras)
    found = []
    for package in chosen:
        check_python(fit, package, package.name())
        with package.checking():
            found.append((poetry_pin(fit, package, metadata), package))
    return found + _project(project, selection)


def check_python(fit: TargetMatch, table: LockTable, what: str) -> None:
    """Raise LockError if the ``python-versions`` of *table* exclude the target."""
    wanted = table.text("python-versions") or "*"
    try:
        allowed = allows(wanted, fit.python)
    except ValueError as error:
        raise table.error(str(error), key="python-versions") from None
    if not allowed:
        raise fit.wrong_python(wanted, table, what)


def _format(metadata: LockTable) -> Version:
    text = metadata.text("lock-version")
    hint = "lock again with Poetry"
    if text is None:
        raise metadata.error("lock-version is missing", hint=hint)
    try:
        version = Version(text)
    except ValueError:
        raise metadata.error(f"lock-version {text!r} is not a valid version", hint=hint) from None
    if not 1 <= version.major < 3:
        raise metadata.error(f"version {text} of the format is unknown", hint=hint)
    return version


def _extras(root: LockTable, project: Project) -> set[str]:
    names = [
        *root.table("extras").content,
        *project.standard.table("optional-dependencies").content,
        *project.tool("poetry").table("extras").content,
    ]
    return {root.normalised(name) for name in names}


def _groups(
    root: LockTable, project: Project, packages: list[LockTable], selection: Selection
) -> frozenset[str]:
    """Return the groups to install: the main group, those that are not optional, and selected ones."""
    declared = dict(_declared(project))
    known = {*declared, *(root.normalised(name) for table in packages for name in table.texts("groups"))}
    asked = {root.normalised(name) for name in selection.groups}
    root.check_known("group", asked, known)
    if selection.default_groups:
        asked |= {name for name in known if not declared.get(name, False)}
    return frozenset(asked | {_MAIN})


def _declared(project: Project) -> Iterator[tuple[str, bool]]:
    """Yield each group of the project, and True if it is optional."""
    poetry = project.tool("poetry")
    if "dev-dependencies" in poetry.content:
        yield "dev", False
    for name in project.groups.content:
        yield project.table.normalised(name), False
    for name, group in poetry.table("group").children():
        yield project.table.normalised(name), group.flag("optional")


def _is_wanted(fit: TargetMatch, package: LockTable, groups: frozenset[str]) -> bool:
    """Return True if one of the package's groups is wanted, and its marker for that group is true."""
    markers = package.content.get("markers")
    for written in package.texts("groups"):
        if package.normalised(written) in groups:
            by_group = package.table("markers").text(written) if isinstance(markers, dict) else None
            marker = by_group if isinstance(markers, dict) else package.text("markers")
            if not marker or marker == "*" or fit.holds(marker, package):
                return True
    return False


def _project(project: Project, selection: Selection) -> list[tuple[Pin, LockTable]]:
    poetry = project.tool("poetry")
    name = project.standard.text("name") or poetry.text("name")
    if not selection.project or not name or poetry.content.get("package-mode") is False:
        return []
    table = project.standard if project.standard.text("name") else poetry
    version = table.version() or poetry.version()
    return [(project.pin(name, version, table.file), table)]
