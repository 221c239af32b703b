"""Walking locks of Poetry before 2.0, which have neither groups nor markers, from pyproject.toml."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pipm.lockfile.checked_table import LockTable
from pipm.lockfile.dependency_walk import Need, reachable_packages
from pipm.lockfile.poetry_versions import allows
from pipm.lockfile.target_match import TargetMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.lockfile.pyproject import Project

_NAMES = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def walk_poetry(
    fit: TargetMatch,
    project: Project,
    packages: list[LockTable],
    groups: frozenset[str],
    extras: frozenset[str],
) -> list[LockTable]:
    """Return the packages that the project needs on the target of *fit*.

    If the lock has several versions of a name, the constraints of all its dependents decide.
    """
    if not project.table.content:
        raise project.table.error("is missing: a lock of Poetry 1 cannot be read without its project")
    by_name: dict[str, list[LockTable]] = {}
    for package in packages:
        by_name.setdefault(package.name(), []).append(package)
    fits = _Fits(fit)
    roots = list(_roots(fits, project, groups, extras))
    found = reachable_packages(roots, partial(_choose, fit, by_name), partial(_needs, fits))
    if found is None:
        raise project.table.error("its constraints contradict poetry.lock", hint="lock again with Poetry")
    return found


class _Fits:
    """Evaluates markers with the extras of one package after the other."""

    def __init__(self, fit: TargetMatch) -> None:
        self._first = fit
        self._by_extras: dict[frozenset[str], TargetMatch] = {}

    def under(self, extras: frozenset[str]) -> TargetMatch:
        found = self._by_extras.get(extras)
        if found is None:
            found = self._by_extras[extras] = TargetMatch(self._first.target, extras=extras)
        return found


def _choose(fit: TargetMatch, by_name: dict[str, list[LockTable]], need: Need, wanted: set[str]) -> LockTable:
    """Return the package that meets all constraints; if there are several, the newest."""
    choices = by_name.get(need.name, [])
    if len(choices) > 1:
        choices = [package for package in choices if _is_allowed(fit, package, wanted)]
    if not choices:
        raise need.table.error(f"{need.name} {' and '.join(sorted(wanted))} is not in poetry.lock")
    return choices[-1]  # the lock is sorted by version


def _is_allowed(fit: TargetMatch, package: LockTable, wanted: set[str]) -> bool:
    try:
        return allows(package.text("python-versions") or "*", fit.python) and all(
            allows(constraint, package.required("version")) for constraint in wanted
        )
    except ValueError as error:
        raise package.error(str(error)) from None


def _roots(fits: _Fits, project: Project, groups: frozenset[str], extras: frozenset[str]) -> Iterator[Need]:
    poetry = project.tool("poetry")
    named = {
        poetry.normalised(name)
        for extra in poetry.table("extras").content
        if poetry.normalised(extra) in extras
        for name in poetry.table("extras").texts(extra)
    }
    tables = [poetry.table("dependencies")]
    if "dev" in groups:
        tables.append(poetry.table("dev-dependencies"))
    for name, group in poetry.table("group").children():
        if poetry.normalised(name) in groups:
            tables.append(group.table("dependencies"))
    fit = fits.under(extras)
    for table in tables:
        yield from _active(fit, table, named)


def _needs(fits: _Fits, package: LockTable, extras: frozenset[str]) -> Iterator[Need]:
    named = set()
    optional = package.table("extras")
    for extra in optional.content:
        if package.normalised(extra) in extras:
            for text in optional.texts(extra):
                match = _NAMES.match(text)
                if match:
                    named.add(package.normalised(match[1]))
    yield from _active(fits.under(extras), package.table("dependencies"), named)


def _active(fit: TargetMatch, dependencies: LockTable, named: set[str]) -> Iterator[Need]:
    """Yield the dependencies with a true marker; optional ones only if they are in *named*."""
    for written in dependencies.content:
        name = dependencies.normalised(written)
        if name == "python":
            continue
        for table in _alternatives(dependencies, written):
            if table.flag("optional") and name not in named:
                continue
            if _counts(fit, table):
                yield Need(
                    name=name,
                    extras=frozenset(table.normalised(extra) for extra in table.texts("extras")),
                    constraint=table.text("version") or "*",
                    table=table,
                )


def _alternatives(dependencies: LockTable, name: str) -> list[LockTable]:
    """Return the tables of a dependency, which may be a constraint, a table, or a list of tables."""
    value = dependencies.content[name]
    if isinstance(value, str):
        return [LockTable({"version": value}, dependencies.file, f"{dependencies.where}.{name}")]
    return dependencies.tables(name) if isinstance(value, list) else [dependencies.table(name)]


def _counts(fit: TargetMatch, table: LockTable) -> bool:
    marker, python, platform = table.text("markers"), table.text("python"), table.text("platform")
    try:
        fits_python = python is None or allows(python, fit.python)
    except ValueError as error:
        raise table.error(str(error)) from None
    fits_platform = platform is None or platform == fit.target.markers.get("sys_platform")
    return fits_python and fits_platform and (not marker or fit.holds(marker, table))
