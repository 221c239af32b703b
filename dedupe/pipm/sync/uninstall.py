"""Uninstalling distributions by their RECORDs; other files and the store do not change."""

from __future__ import annotations

from pipm.core.install_plan import scheme_path
from pipm.core.record import RecordPlace, locate, parse_record
from pipm.fs.beneath import directory_beneath, read_beneath
from pipm.fs.removal import remove_tree
from pipm.fs.remove_files import remove_emptied_folders, remove_files
from pipm.fs.staging import move_folder
from pipm.fs.walk_tree import names_in
from pipm.sync.uv_note import FILE as UV_NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.context.sync_context import SyncContext
    from pipm.core.install_plan import InstallPlan
    from pipm.core.plan.sync_plan import Installed
    from pipm.core.scheme import Scheme


def uninstall(context: SyncContext, installed: Installed, stays: Callable[[str], bool]) -> None:
    """Remove the files of *installed*, RECORD last, so that the next sync can finish a killed removal.

    *stays* returns whether another distribution also has the file at a path (relative to the environment).
    """
    *paths, record = installed_paths(context, installed)
    remove(context, (path for path in paths if path != record and not stays(path)), installed.site)
    with (
        directory_beneath(context.root, installed.site) as site,
        directory_beneath(context.root, f"{installed.site}/{installed.metadata}") as folder,
    ):
        if site is not None and folder is not None and names_in(folder) == ["RECORD"]:
            # In one step: an empty metadata folder would be a distribution with unknown files.
            move_folder(site, installed.metadata, context.staging)
            remove_tree(context.staging, installed.metadata)
            return
    # Files of others in the metadata folder stay, like in pip and uv; RECORD must be removed last.
    remove(context, [record], installed.site)


def remove_unfinished(context: SyncContext, install_plan: InstallPlan, stays: Callable[[str], bool]) -> None:
    """Remove the files of an unwanted distribution without RECORD, which a killed sync began to install."""
    paths = entry_paths(install_plan, context.scheme)
    remove(context, (path for path in paths if not stays(path)), context.scheme.site)


def installed_paths(context: SyncContext, installed: Installed) -> list[str]:
    """Return the files of *installed* inside the environment, relative to it; its RECORD is the last."""
    record = f"{installed.site}/{installed.metadata}/RECORD"
    return [*recorded_paths(read_beneath(context.root, record) or b"", installed.site), record]


def entry_paths(install_plan: InstallPlan, scheme: Scheme) -> list[str]:
    """Return all files of a distribution except bytecode, relative to the environment."""
    site = scheme.site
    paths = [
        f"{site}/{folder.path}/{name}" if folder.path else f"{site}/{name}"
        for folder in (*install_plan.folders, *install_plan.metadata_folders)
        for name in (*folder.names, *(name for name, _, _ in folder.empty))
    ]
    paths += [f"{site}/{name}" for name, *_ in install_plan.copies]
    paths += [scheme_path(other, install_plan.name, scheme) for other in install_plan.data_files]
    paths += [f"bin/{name}" for name, _ in install_plan.scripts]
    metadata = f"{site}/{install_plan.metadata}"
    own = ("INSTALLER", "REQUESTED", "direct_url.json", UV_NOTE)
    return [*paths, *(f"{metadata}/{name}" for name in own)]


def recorded_paths(record: bytes, site: str) -> list[str]:
    """Return the files of a RECORD that are inside the environment, relative to it."""
    paths = []
    for row in parse_record(record):
        place, path = locate(row.path, site)
        if place is RecordPlace.SITE:
            paths.append(f"{site}/{path}")
        elif not path.startswith(("/", "..")) and "\0" not in path and path != "pyvenv.cfg":
            paths.append(path)
    return paths


def claimed_paths(
    context: SyncContext, install_plans: Iterable[InstallPlan], kept: Iterable[Installed]
) -> frozenset[str]:
    """Return all files of remaining distributions, *install_plans* and *kept*, below the environment."""
    claimed = {path for install_plan in install_plans for path in entry_paths(install_plan, context.scheme)}
    for one in kept:
        claimed.update(installed_paths(context, one))
    return frozenset(claimed)


def remove(context: SyncContext, paths: Iterable[str], site: str) -> None:
    """Remove files of the environment with the bytecode of modules, and folders that are empty then."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    for folder, names in folders.items():
        context.shared_state.check()
        remove_files(context.root, folder, names)
    keep = frozenset({site, "bin", "lib", "lib64", "include"})
    remove_emptied_folders(context.root, set(folders), keep)
