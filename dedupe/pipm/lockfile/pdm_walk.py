"""Walking locks of PDM without ``inherit_metadata`` from pyproject.toml."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pipm.lockfile.dependency_walk import Need, reachable_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.lockfile.checked_table import LockTable
    from pipm.lockfile.pyproject import Project
    from pipm.lockfile.target_match import TargetMatch

_EDITABLE = re.compile(r"-e\s+(?P<url>\S+?)#egg=(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^]]*)])?")


def walk_pdm(
    fit: TargetMatch, project: Project, packages: list[LockTable], groups: frozenset[str]
) -> list[LockTable]:
    """Return the packages that the project needs on the target of *fit*."""
    if not project.table.content:
        raise project.table.error("is missing: this lock of PDM cannot be read without its project")
    by_name: dict[str, list[LockTable]] = {}
    for package in packages:
        extras = [package.normalised(extra) for extra in package.texts("extras")]
        by_name.setdefault(_key(package.name(), extras), []).append(package)
    roots = [
        need
        for group in sorted(groups)
        for line in _lines(project, group, ())
        for need in _parsed(fit, line, project.table)
    ]
    found = reachable_packages(roots, partial(_choose, fit, by_name), partial(_needs, fit))
    if found is None:
        raise project.table.error("its constraints contradict pdm.lock", hint="lock again with PDM")
    return found


def _key(name: str, extras: list[str]) -> str:
    """Return the key of a package; ``name[a,b]`` is a separate package that depends on ``name``."""
    return f"{name}[{','.join(sorted(extras))}]" if extras else name


def _lines(project: Project, group: str, within: tuple[str, ...]) -> Iterator[str]:
    """Yield the requirements of one group."""
    if group in within:
        raise project.groups.error(f"the group {group} includes itself")
    if group == "default":
        yield from project.standard.texts("dependencies")
        return
    optional, tool = (
        project.standard.table("optional-dependencies"),
        project.tool("pdm").table("dev-dependencies"),
    )
    for table in (optional, tool):
        for name in table.content:
            if table.normalised(name) == group:
                yield from table.texts(name)
    for name, items in project.groups.content.items():
        if project.table.normalised(name) == group:
            yield from _included(project, group, items, within)


def _included(project: Project, group: str, items: object, within: tuple[str, ...]) -> Iterator[str]:
    """Yield the requirements of a dependency group (PEP 735), which may include others."""
    if not isinstance(items, list):
        raise project.groups.error(f"{group} is not a list")
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
            other = project.table.normalised(item["include-group"])
            yield from _lines(project, other, (*within, group))
        else:
            raise project.groups.error(f"{group} has {item!r}, which is not a valid requirement")


def _needs(fit: TargetMatch, package: LockTable, _extras: frozenset[str]) -> Iterator[Need]:
    for line in package.texts("dependencies"):
        yield from _parsed(fit, line, package)


def _parsed(fit: TargetMatch, line: str, table: LockTable) -> Iterator[Need]:
    """Yield the need of one requirement, unless its marker is false."""
    editable = _EDITABLE.match(line)
    if editable is not None:
        line = editable["name"] + (f"[{editable['extras']}]" if editable["extras"] else "")
    try:
        requirement = Requirement(line)
    except (ValueError, RecursionError):
        raise table.error(f"{line!r} is not a valid requirement") from None
    if requirement.marker is None or fit.holds(str(requirement.marker), table):
        extras = [table.normalised(extra) for extra in requirement.extras]
        yield Need(
            name=_key(table.normalised(requirement.name), extras),
            extras=frozenset(),
            constraint=str(requirement.specifier),
            table=table,
        )


def _choose(fit: TargetMatch, by_name: dict[str, list[LockTable]], need: Need, wanted: set[str]) -> LockTable:
    choices = by_name.get(need.name, [])
    if len(choices) > 1:
        choices = [package for package in choices if _is_allowed(fit, package, wanted)]
    if not choices:
        raise need.table.error(f"{need.name} {' and '.join(sorted(wanted))} is not in pdm.lock")
    return choices[-1]


def _is_allowed(fit: TargetMatch, package: LockTable, wanted: set[str]) -> bool:
    python, marker = package.text("requires_python"), package.text("marker")
    if python and not fit.allows_python(python, package):
        return False
    if marker and not fit.holds(marker, package):
        return False
    version = package.version()
    specifiers = (Requirement(f"x{constraint}").specifier for constraint in wanted)
    return version is None or all(one.contains(version, prereleases=True) for one in specifiers)
