"""Choosing between links and the finder for an environment."""

from __future__ import annotations

from pipm.env.receipt import has_finder
from pipm.errors import LinkingImpossibleError, UsageError
from pipm.fs.free_space import file_system_type, free_space, has_reflinks
from pipm.fs.link_modes import LinkMode, choose_link_mode
from pipm.fs.staging import staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.progress import Progress
    from pipm.core.manifest import Manifest
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.env.environment import Environment
    from pipm.store.layout import Store
    from pipm.sync.installed_state import EnvironmentScan

_OWN_FILES = 8
"""Inodes that a distribution needs in any link mode, for metadata and scripts."""
_MARGIN = 1.25
_AMPLE = 4_000_000
"""Free inodes that are enough for any environment, so that no install plan need be read."""


def wants_finder(
    store: Store,
    environment: Environment,
    root: int,
    scan: EnvironmentScan,
    wanted: list[Wanted],
    link_mode: LinkMode | None,
    progress: Progress,
) -> bool:
    """Return True if the environment gets the finder: on request, as before, or if links are impossible.

    Raises UsageError if the request contradicts the environment.
    """
    path, is_served = environment.path, has_finder(root)
    if link_mode not in (None, LinkMode.FINDER):
        if is_served:
            raise UsageError(
                f"{path} imports its modules from the store by the finder",
                hint=f"`pipm release {path}` gives it its own files again; then sync it by another link mode",
            )
        return False
    reason = None
    if link_mode is None and not is_served:
        reason = _need(store, environment, root, wanted)
        if reason is None:
            return False
    if not is_served and _has_files(scan, wanted):
        if reason is not None:
            return False
        raise UsageError(
            f"{path} has files of its distributions",
            hint=f"pipm adopt --link-mode finder {path}; then sync it",
        )
    if reason is not None:
        progress.note(f"{reason}: using the finder for {path}")
    return True


def _need(store: Store, environment: Environment, root: int, wanted: Sequence[Wanted]) -> str | None:
    """Return the reason why only the finder works; None if links do."""
    if lacks_inodes(environment.path, wanted):
        return "too few free inodes for links"
    with staging(root) as folder, store.run() as (run, run_path):
        try:
            choose_link_mode(None, run, run_path, folder)
        except LinkingImpossibleError:
            return f"no file can be linked to the store {store.path}"
    return None


def _has_files(scan: EnvironmentScan, wanted: Sequence[Wanted]) -> bool:
    """Return True if a distribution of *wanted* has files that the finder would have to remove."""
    names = {one.name for one in wanted}
    return any(installed.name in names for installed in scan.installed())


def lacks_inodes(path: str, wanted: Iterable[Wanted]) -> bool:
    """Return True if the file system of *path* has too few free inodes for links to all files."""
    free = free_space(path).inodes
    if free is None or free > _AMPLE:
        return False
    by_block = has_reflinks(file_system_type(path))  # a reflink needs an inode, a hard link does not
    need = 0
    for one in wanted:
        folders = (*one.install_plan.folders, *one.install_plan.metadata_folders)
        need += _OWN_FILES + 2 * len(folders)
        if by_block:
            need += sum(len(folder.names) + len(folder.empty) for folder in folders)
    return free < need * _MARGIN


def has_room_for_bytecode(store: Store, manifests: list[Manifest]) -> bool:
    """Return True if the store's file system has the inodes for bytecode and an environment there."""
    free = free_space(store.path).inodes
    # The bytecode of a source is an inode, and may need a folder in the pool and one in its tree.
    return free is None or free >= (3 * count_sources(manifests) + _OWN_FILES * len(manifests)) * _MARGIN


def count_sources(manifests: Iterable[Manifest]) -> int:
    """Return the number of modules."""
    return sum(file.path.endswith(".py") for manifest in manifests for file in manifest.files)
