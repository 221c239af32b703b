"""Reading ``uv.lock``: a graph that is walked from the project, or from the members of its workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.pins import Pin, SourceFolder
from pipm.lockfile.checked_table import LockTable, load_toml
from pipm.lockfile.pyproject import load_project
from pipm.lockfile.target_match import TargetMatch
from pipm.lockfile.uv_sources import uv_pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.core.selection import Selection
    from pipm.core.target import Target

_Node = tuple[int, str]
"""The index of a package, and one of its extras or ""."""


@dataclass(frozen=True, kw_only=True)
class _UvLock:
    root: LockTable
    packages: list[LockTable]
    by_name: dict[str, list[int]]
    conflicts: list[list[LockTable]]


@dataclass(kw_only=True)
class _Walk:
    """One walk through the graph: the packages that it reached, and the extras that it activated."""

    reached: dict[int, None] = field(default_factory=dict)
    extras: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class _RootPackages:
    """The roots of the graph, with the wanted extras and groups."""

    roots: list[int]
    extras: frozenset[str]
    groups: frozenset[str]
    packages: bool
    """True if members are named: then requirements of the workspace itself are ignored."""


def read_uv(path: str, target: Target, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Read a lock of uv; raise LockError if it is invalid or does not fit."""
    lock = _load(path)
    python = lock.root.text("requires-python")
    if python:
        TargetMatch(target).check_python(python, lock.root)
    wanted = _wanted(lock, selection)
    fit, walk = _walk_until_stable(lock, target, wanted)
    _check_conflicts(lock, wanted, walk)
    found = []
    for index in walk.reached:
        with lock.packages[index].checking():
            pin = uv_pin(fit, lock.packages[index])
        if pin is not None and (selection.project or not _is_member(lock, pin)):
            found.append((pin, lock.packages[index]))
    return found


def _load(path: str) -> _UvLock:
    root = load_toml(path)
    if root.number("version") != 1:
        raise root.error(
            f"version {root.content.get('version')!r} of the format is unknown", hint="lock again with uv"
        )
    packages = root.tables("package")
    by_name: dict[str, list[int]] = {}
    for index, package in enumerate(packages):
        by_name.setdefault(package.name(), []).append(index)
    conflicts = root.content.get("conflicts", [])
    if not isinstance(conflicts, list):
        raise root.error("conflicts should be a list")
    sets = [LockTable({"set": one}, path, f"conflicts[{i}]").tables("set") for i, one in enumerate(conflicts)]
    return _UvLock(root=root, packages=packages, by_name=by_name, conflicts=sets)


def _is_member(lock: _UvLock, pin: Pin) -> bool:
    """Return True if a pin is a member of this workspace, not only a local dependency."""
    if not isinstance(pin.origin, SourceFolder):
        return False
    members = lock.root.table("manifest").texts("members")
    return pin.name in members if members else pin.origin.path == lock.root.folder


def _wanted(lock: _UvLock, selection: Selection) -> _RootPackages:
    roots = _roots(lock, selection)
    tables = [lock.packages[index] for index in roots]
    groups = {name for table in tables for name in _keys(table, "dev-dependencies", "requires-dev")}
    groups |= set(lock.root.table("manifest").table("dependency-groups").content)
    extras = {name for table in tables for name in _keys(table, "optional-dependencies", "")}
    extras |= {name for table in tables for name in table.table("metadata").texts("provides-extras")}
    asked = {lock.root.normalised(name) for name in selection.extras}
    chosen = {lock.root.normalised(name) for name in selection.groups}
    lock.root.check_known("extra", asked, extras)
    lock.root.check_known("group", chosen, groups)
    if selection.default_groups:
        chosen |= _default_groups(lock, roots, groups)
    named = bool(selection.packages) and not selection.all_packages
    return _RootPackages(roots=roots, extras=frozenset(asked), groups=frozenset(chosen), packages=named)


def _keys(table: LockTable, key: str, metadata: str) -> Iterator[str]:
    yield from table.table(key).content
    if metadata:
        yield from table.table("metadata").table(metadata).content


def _default_groups(lock: _UvLock, roots: list[int], known: set[str]) -> set[str]:
    """Return the groups that uv installs by default: ``dev``, or those in the project's settings."""
    source = lock.packages[roots[0]].table("source") if len(roots) == 1 else lock.root
    folder = source.text("editable") or source.text("virtual") or "."
    tool = load_project(lock.root.beside(lock.root.absolute(folder))).tool("uv")
    if tool.content.get("default-groups") == "all":
        return known
    if "default-groups" in tool.content:
        return {tool.normalised(name) for name in tool.texts("default-groups")} & known
    return {"dev"} & known


def _roots(lock: _UvLock, selection: Selection) -> list[int]:
    """Return the named members, otherwise the project beside the lock.

    If a workspace's root is not a project, these are all members; for a script there are none.
    """
    members = [lock.root.normalised(name) for name in lock.root.table("manifest").texts("members")]
    if selection.packages and not selection.all_packages:
        asked = [lock.root.normalised(name) for name in selection.packages]
        # A project without a workspace is its only member.
        lock.root.check_known("package", asked, members or _own_projects(lock))
        return [index for name in asked for index in lock.by_name.get(name, [])]
    if selection.all_packages and members:
        return [index for member in members for index in lock.by_name.get(member, [])]
    name = load_project(lock.root).standard.text("name")
    if name:
        found = lock.by_name.get(lock.root.normalised(name), [])
        if found:
            return found
    for index, package in enumerate(lock.packages):
        source = package.table("source")
        if "." in (source.content.get("editable"), source.content.get("virtual")):
            return [index]
    return [index for member in members for index in lock.by_name.get(member, [])]


def _own_projects(lock: _UvLock) -> list[str]:
    sources = {package.name(): package.table("source").content for package in lock.packages}
    return [
        name for name, source in sources.items() if "." in (source.get("editable"), source.get("virtual"))
    ]


def _walk_until_stable(lock: _UvLock, target: Target, wanted: _RootPackages) -> tuple[TargetMatch, _Walk]:
    """Walk until no further extra is activated: in a lock with conflicts, markers depend on active extras.

    uv calls them ``extra-<length of the package's name>-<package>-<extra>`` in its markers.
    """
    active = {
        (lock.packages[root].name(), extra)
        for root in wanted.roots
        for extra in wanted.extras & set(lock.packages[root].table("optional-dependencies").content)
    }
    while True:
        fit = TargetMatch(target, extras=_encoded(lock, wanted, active) if lock.conflicts else frozenset())
        walk = _walked(lock, fit, wanted)
        if not lock.conflicts or walk.extras <= active:
            walk.extras |= active
            return fit, walk
        active |= walk.extras


def _encoded(lock: _UvLock, wanted: _RootPackages, extras: Iterable[tuple[str, str]]) -> frozenset[str]:
    names = {f"extra-{len(package)}-{package}-{extra}" for package, extra in extras}
    for root in wanted.roots:
        package = lock.packages[root]
        name = package.name()
        names.add(f"project-{len(name)}-{name}")
        groups = wanted.groups & set(package.table("dev-dependencies").content)
        names |= {f"group-{len(name)}-{name}-{group}" for group in groups}
    return frozenset(names)


def _walked(lock: _UvLock, fit: TargetMatch, wanted: _RootPackages) -> _Walk:
    walk = _Walk()
    queue: list[_Node] = []
    for root in wanted.roots:
        queue.append((root, ""))
        package = lock.packages[root]
        optional = package.table("optional-dependencies").content
        queue += [(root, extra) for extra in sorted(wanted.extras & set(optional))]
        groups = package.table("dev-dependencies")
        for group in sorted(wanted.groups & set(groups.content)):
            queue += _next(lock, fit, walk, groups.tables(group))
    queue += _manifest(lock, fit, wanted)
    seen = set(queue)
    while queue:
        index, extra = queue.pop()
        walk.reached[index] = None
        package = lock.packages[index]
        needs = (
            package.table("optional-dependencies").tables(extra) if extra else package.tables("dependencies")
        )
        for node in _next(lock, fit, walk, needs):
            if node not in seen:
                seen.add(node)
                queue.append(node)
    return walk


def _manifest(lock: _UvLock, fit: TargetMatch, wanted: _RootPackages) -> list[_Node]:
    """Return the requirements of a script, or of a workspace with a root that is not a project."""
    manifest = lock.root.table("manifest")
    groups = manifest.table("dependency-groups")
    needs = manifest.tables("requirements")
    if wanted.packages:
        return []
    for group in sorted(wanted.groups & set(groups.content)):
        needs += groups.tables(group)
    found: list[_Node] = []
    for need in needs:
        marker = need.text("marker")
        if marker and not fit.holds(marker, need):
            continue
        choices = [index for index in lock.by_name.get(need.name(), []) if _is_for(lock, fit, index)]
        if len(choices) != 1:
            raise need.error(f"{need.name()} is in the lock {len(choices)} times for this interpreter")
        found.append((choices[0], ""))
        found += [(choices[0], extra) for extra in need.texts("extras")]
    return found


def _is_for(lock: _UvLock, fit: TargetMatch, index: int) -> bool:
    markers = lock.packages[index].texts("resolution-markers")
    return not markers or any(fit.holds(marker, lock.packages[index]) for marker in markers)


def _next(lock: _UvLock, fit: TargetMatch, walk: _Walk, needs: list[LockTable]) -> Iterator[_Node]:
    for need in needs:
        marker = need.text("marker")
        if marker and not fit.holds(marker, need):
            continue
        index = _find(lock, need)
        yield index, ""
        for extra in need.texts("extra"):
            walk.extras.add((need.name(), extra))
            yield index, extra


def _find(lock: _UvLock, need: LockTable) -> int:
    """Return the package of a dependency; uv adds version and source if the name is ambiguous."""
    found = lock.by_name.get(need.name(), [])
    if len(found) > 1:
        for key in ("version", "source"):
            wanted = need.content.get(key)
            if wanted is not None:
                found = [index for index in found if lock.packages[index].content.get(key) == wanted]
    if len(found) != 1:
        raise need.error(f"{need.name()} is in the lock {len(found)} times", hint="lock again with uv")
    return found[0]


def _check_conflicts(lock: _UvLock, wanted: _RootPackages, walk: _Walk) -> None:
    """Raise LockError if the selection contains extras or groups that conflict in uv's settings."""
    roots = {lock.packages[root].name() for root in wanted.roots}
    for items in lock.conflicts:
        both = []
        for item in items:
            package = item.normalised(item.required("package"))
            extra, group = item.text("extra"), item.text("group")
            if extra and (package, extra) in walk.extras:
                both.append(f"extra {extra}")
            elif group and package in roots and group in wanted.groups:
                both.append(f"group {group}")
            elif not extra and not group and package in roots:
                both.append(f"project {package}")
        if len(both) > 1:
            raise items[0].error(f"{' and '.join(both)} exclude each other", hint="select one of them")
