"""Reading ``pdm.lock`` with all its strategies: with or without inherited groups and markers, static URLs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from pipm.lockfile.checked_table import LockTable, load_toml
from pipm.lockfile.pdm_sources import pdm_pin
from pipm.lockfile.pdm_walk import walk_pdm
from pipm.lockfile.pyproject import Project, load_project
from pipm.lockfile.target_match import TargetMatch

if TYPE_CHECKING:
    from pipm.core.pins import Pin
    from pipm.core.selection import Selection
    from pipm.core.target import Target

_SYSTEMS = {"windows": "win32", "win": "win32", "macos": "darwin", "macosx": "darwin"}
"""The first word of a target's platform → ``sys_platform``; all others are Linux."""

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def read_pdm(path: str, target: Target, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Read a lock of PDM, with its pyproject.toml; raise LockError if it is invalid or does not fit."""
    root = load_toml(path)
    metadata = root.table("metadata")
    _check_format(metadata)
    project = load_project(root)
    fit = TargetMatch(target)
    _check_targets(fit, metadata)
    groups = _groups(root, metadata, project, selection)
    packages = root.tables("package")
    if "inherit_metadata" in metadata.texts("strategy"):
        chosen = [package for package in packages if _is_wanted(fit, package, groups)]
    else:
        chosen = walk_pdm(fit, project, packages, groups)
    found: dict[str, tuple[Pin, LockTable]] = {}
    places: list[tuple[Pin, LockTable]] = []
    for package in chosen:
        wanted = package.text("requires_python")
        if wanted:
            fit.check_python(wanted, package, package.name())
        with package.checking():
            pin = pdm_pin(fit, package, metadata, project)
        other = found.setdefault(pin.name, (pin, package))[0]
        if other is pin or (pin.version, pin.origin) != (other.version, other.origin):
            places.append((pin, package))  # `name[extra]` repeats the pin of `name`, which is added once
    return places + _project(project, selection)


def _check_format(metadata: LockTable) -> None:
    text = metadata.text("lock_version")
    try:
        known = text is not None and (3, 0) < Version(text).release[:2] < (5, 0)
    except ValueError:
        known = False
    if not known:
        raise metadata.error(f"version {text!r} of the format is unknown", hint="lock again with PDM")


def _check_targets(fit: TargetMatch, metadata: LockTable) -> None:
    """Raise LockError if the lock is only for other interpreters or platforms."""
    targets = metadata.tables("targets")
    if targets and not any(_is_for(fit, table) for table in targets):
        wanted = [" ".join(map(str, table.content.values())) for table in targets]
        raise metadata.error(
            f"The lock is for {' or '.join(wanted)}, the environment is"
            f" Python {fit.target.python} on {fit.target.markers.get('sys_platform')}",
            key="targets",
            hint="create the environment with another Python, or lock again",
        )


def _is_for(fit: TargetMatch, table: LockTable) -> bool:
    markers = fit.target.markers
    implementation, platform = table.text("implementation"), table.text("platform")
    if implementation and implementation != markers.get("implementation_name"):
        return False
    if platform:
        system = _SYSTEMS.get(re.split("[_-]", platform)[0], "linux")
        if system != markers.get("sys_platform"):
            return False
        machine = markers.get("platform_machine", "").lower()
        machine = _ARCHITECTURES.get(machine, machine)
        for name in ("x86_64", "amd64", "aarch64", "arm64", "i686", "x86", "ppc64le", "s390x", "armv7l"):
            if platform.endswith(f"_{name}"):
                if _ARCHITECTURES.get(name, name) != machine:
                    return False
                break
    python = table.text("requires_python")
    return not python or fit.allows_python(python, table)


def _groups(root: LockTable, metadata: LockTable, project: Project, selection: Selection) -> frozenset[str]:
    """Return the groups to install; PDM's extras are groups, too.

    Without a selection these are all groups in the lock, like `pdm sync`. With a selection they are the
    default group, those for development (unlike `pdm sync`), and the selected ones.
    """
    locked = {root.normalised(name) for name in metadata.texts("groups") or ["default"]}
    asked = {root.normalised(name) for name in selection.extras}
    chosen = {root.normalised(name) for name in selection.groups}
    root.check_known("extra", asked, locked)
    root.check_known("group", chosen, locked)
    if not asked and not chosen and selection.default_groups:
        return frozenset(locked)
    if selection.default_groups:
        chosen |= locked - _optional(project)
    return frozenset({"default"} | asked | chosen)


def _optional(project: Project) -> set[str]:
    optional = project.standard.table("optional-dependencies").content
    return {project.table.normalised(name) for name in optional}


def _is_wanted(fit: TargetMatch, package: LockTable, groups: frozenset[str]) -> bool:
    own = package.texts("groups")
    if own and groups.isdisjoint(package.normalised(name) for name in own):
        return False
    marker = package.text("marker") or package.text("markers")
    return not marker or fit.holds(marker, package)


def _project(project: Project, selection: Selection) -> list[tuple[Pin, LockTable]]:
    """Return the pin of the project itself if PDM would install it (``tool.pdm.distribution``)."""
    name, settings = project.standard.text("name"), project.tool("pdm")
    kind, flag = settings.text("package-type"), settings.content.get("distribution")
    if flag is None:
        flag = kind in (None, "library")
    if not selection.project or not name or not flag:
        return []
    return [(project.pin(name, project.standard.version(), project.table.file), project.standard)]
