"""The full check: is an environment exactly what its last sync made?"""

from __future__ import annotations

import os

from pipm.core.import_names import PATH_FILE
from pipm.core.install_plan import scheme_path, without_modules
from pipm.env.receipt import FOLDER, read_receipt, read_stored_metadata
from pipm.finder.install_hook import interpreter_of, is_hook_current
from pipm.fs.beneath import directory_beneath
from pipm.sync.change_cache import BIN, COMMON, seen_times
from pipm.sync.installed_state import EnvironmentScan
from pipm.wheel.stored_install_plans import load_install_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipm.core.install_plan import InstallPlan
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.change_cache import ChangeCache, Groups, SeenTimes, Times

_OURS = PATH_FILE.removesuffix(".pth")
_OWN = ("RECORD", "INSTALLER", "REQUESTED")


def passes_full_check(
    store: Store,
    environment: Environment,
    root: int,
    known: Root,
    scheme: Scheme,
    interpreter: Interpreter | None,
    change_cache: ChangeCache,
) -> bool:
    """Return True if the environment open as *root* has exactly the entries of its root *known*, all intact.

    Unchanged groups of *change_cache* are not checked; if possible the result is written to the cache.
    """
    receipt = read_receipt(root)
    if receipt is not None and not is_hook_current(store, root, interpreter_of(environment)):
        return False
    stored_metadata = {} if receipt is None else read_stored_metadata(root)
    served = frozenset() if receipt is None else {row.entry for row in receipt.served.values()}
    install_plans = {entry: _load(store, entry, served=entry in served) for entry in known.entries}
    scan = EnvironmentScan(store, root, environment, scheme, interpreter, stored_metadata)
    return passes_plan_check(scan, install_plans, change_cache.unchanged(), change_cache, {})


def passes_plan_check(
    scan: EnvironmentScan,
    install_plans: Mapping[str, InstallPlan],
    before: SeenTimes,
    change_cache: ChangeCache,
    known: Times,
    paths: Groups | None = None,
) -> bool:
    """Do the same for *install_plans*, by entry; groups with the same times as *before* are not checked.

    Paths in *known* need no stat. *paths* are those of `entry_paths`, if they are known.
    """
    if not change_cache.is_kept:
        return scan.is_exactly(install_plans)
    if paths is None:
        paths = entry_paths(install_plans, scan.scheme, no_dist_info=bool(scan.stored_metadata))
    groups = groups_of(scan.root, scan.scheme, paths)
    seen = seen_times(scan.root, groups, known)
    scan.untouched = seen.untouched_since(before)
    if not scan.is_exactly(install_plans):
        return False
    if scan.linked or change_cache.has_reflinks:
        change_cache.note(seen)
    return True


def _load(store: Store, entry: str, *, served: bool) -> InstallPlan:
    """Return the install plan of *entry*; a *served* one has no modules in the environment."""
    whole = load_install_plan(store, entry, modules=not served)
    return without_modules(whole) if served else whole


def groups_of(root: int, scheme: Scheme, paths: Groups) -> Groups:
    """Return *paths* of entries, and what several entries have in the environment open as *root*."""
    common = ["pyvenv.cfg", f"{scheme.site}/", *_listed(root, FOLDER)]
    common += [path for path in _listed(root, scheme.site) if path.startswith(f"{scheme.site}/{_OURS}")]
    return {COMMON: common, BIN: list(_listed(root, BIN)), **paths}


def entry_paths(install_plans: Mapping[str, InstallPlan], scheme: Scheme, *, no_dist_info: bool) -> Groups:
    """Return the folders of *install_plans* in an environment, by entry, and files that are not links.

    *no_dist_info*: served distributions have no metadata folders.
    """
    return {
        entry: list(_paths(one, scheme, no_dist_info=no_dist_info and not one.folders))
        for entry, one in install_plans.items()
    }


def _paths(one: InstallPlan, scheme: Scheme, *, no_dist_info: bool) -> Iterator[str]:
    site = scheme.site
    for folder in (*one.folders, *(() if no_dist_info else one.metadata_folders)):
        path = f"{site}/{folder.path}" if folder.path else site
        if folder.names or folder.empty:  # others exist with their subfolders, and may get further ones
            yield f"{path}/"
        if scheme.cache_tag and folder.sources:
            yield f"{path}/__pycache__/"
        yield from (f"{path}/{name}" for name, _, _ in folder.empty)
    if not no_dist_info:
        yield from (f"{site}/{one.metadata}/{name}" for name in _OWN)
        if not one.folders:  # in finder environments these are copies if links are impossible
            rows = [(folder.path, name) for folder in one.metadata_folders for name in folder.names]
            yield from (f"{site}/{folder}/{name}" for folder, name in rows)
    yield from (f"{site}/{name}" for name, _, _ in one.copies)
    for other in one.data_files:
        if other.scheme != "scripts":  # scripts are in bin
            yield scheme_path(other, one.name, scheme)


def _listed(root: int, path: str) -> Iterator[str]:
    """Yield a folder that several install plans share, and the files in it."""
    with directory_beneath(root, path) as folder:
        if folder is not None:
            yield f"{path}/"
            with os.scandir(folder) as entries:
                yield from sorted(f"{path}/{entry.name}{'/' * entry.is_dir()}" for entry in entries)
