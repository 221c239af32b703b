"""Taking distributions out of an environment by their RECORDs; the store and strangers' files stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.install_plan import placed
from pipm.core.record import Place, locate, parse_record
from pipm.fs.beneath import read_beneath
from pipm.fs.remove_files import remove_empty_folders, remove_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.context.sync_context import Ground
    from pipm.core.install_plan import Blueprint
    from pipm.core.plan.sync_plan import Standing
    from pipm.core.scheme import Scheme


def uninstall(ground: Ground, standing: Standing, claimed: frozenset[str]) -> None:
    """Remove the files of *standing*, RECORD last: a killed removal is finished by the next sync.

    *claimed* are paths, relative to the environment, that a distribution which stays has as well.
    """
    record = f"{standing.site}/{standing.metadata}/RECORD"
    paths = recorded_paths(read_beneath(ground.root, record) or b"", standing.site)
    _remove(ground, (path for path in paths if path not in claimed and path != record), standing.site)
    # pip and uv leave what others put into the metadata folder; a RECORD must not go before the rest.
    _remove(ground, [record], standing.site)


def remove_unfinished(ground: Ground, blueprint: Blueprint, claimed: frozenset[str]) -> None:
    """Remove what a killed sync left of a distribution that has no RECORD (yet) and that nobody wants."""
    paths = entry_paths(blueprint, ground.scheme)
    _remove(ground, (path for path in paths if path not in claimed), ground.scheme.site)


def entry_paths(blueprint: Blueprint, scheme: Scheme) -> list[str]:
    """All files that a distribution has in an environment but bytecode, relative to it."""
    site = scheme.site
    paths = [
        f"{site}/{folder.path}/{name}" if folder.path else f"{site}/{name}"
        for folder in (*blueprint.folders, *blueprint.described)
        for name in (*folder.names, *(name for name, _, _ in folder.empty))
    ]
    paths += [f"{site}/{name}" for name, *_ in blueprint.copies]
    paths += [placed(other, blueprint.name, scheme) for other in blueprint.others]
    paths += [f"bin/{name}" for name, _ in blueprint.scripts]
    metadata = f"{site}/{blueprint.metadata}"
    return [*paths, *(f"{metadata}/{name}" for name in ("INSTALLER", "REQUESTED", "direct_url.json"))]


def recorded_paths(record: bytes, site: str) -> list[str]:
    """The files that a RECORD names and that lie in the environment, relative to it."""
    paths = []
    for row in parse_record(record):
        place, path = locate(row.path, site)
        if place is Place.SITE:
            paths.append(f"{site}/{path}")
        elif not path.startswith(("/", "..")) and "\0" not in path and path != "pyvenv.cfg":
            paths.append(path)
    return paths


def claimed_paths(
    ground: Ground, blueprints: Iterable[Blueprint], kept: Iterable[Standing]
) -> frozenset[str]:
    """All files of distributions that stay, relative to the environment: *blueprints* and *kept* ones."""
    claimed = {path for blueprint in blueprints for path in entry_paths(blueprint, ground.scheme)}
    for one in kept:
        record = read_beneath(ground.root, f"{one.site}/{one.metadata}/RECORD") or b""
        claimed.update(recorded_paths(record, one.site))
    return frozenset(claimed)


def _remove(ground: Ground, paths: Iterable[str], site: str) -> None:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    for folder, names in folders.items():
        ground.pulse.check()
        remove_files(ground.root, folder, names)
    keep = frozenset({site, "bin", "lib", "lib64", "include"})
    remove_empty_folders(ground.root, set(folders), keep)
