"""Looking at all of an environment: whether it is exactly what its last sync made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.import_names import PATH_FILE
from pipm.core.install_plan import scheme_path, without_modules
from pipm.env.receipt import FOLDER, read_receipt, read_stored_metadata
from pipm.finder.install_hook import interpreter_of, is_hook_current
from pipm.fs.beneath import directory_beneath
from pipm.sync.change_cache import BIN, COMMON, seen_times
from pipm.sync.installed_state import EnvironmentScan
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipm.core.install_plan import InstallPlan
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.change_cache import ChangeCache, SeenTimes, Times

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
    """Whether the environment open as *root* has what *known* says, whole, and nothing else.

    What did not change is believed; what was seen becomes *change_cache*, where that is possible.
    """
    receipt = read_receipt(root)
    if receipt is not None and not is_hook_current(store, root, interpreter_of(environment)):
        return False
    stored_metadata = {} if receipt is None else read_stored_metadata(root)
    served = frozenset() if receipt is None else {row.entry for row in receipt.served.values()}
    install_plans = {entry: _load(store, entry, served=entry in served) for entry in known.entries}
    scan = EnvironmentScan(store, root, environment, scheme, interpreter, stored_metadata)
    return passes_plan_check(scan, install_plans, change_cache.before, change_cache, {})


def passes_plan_check(
    scan: EnvironmentScan,
    install_plans: Mapping[str, InstallPlan],
    before: SeenTimes,
    change_cache: ChangeCache,
    known: Times,
) -> bool:
    """The same for an environment of *install_plans*, by entry; what is as it was *before* is believed.

    Times that are *known* are not asked for.
    """
    if not change_cache.is_kept:
        return scan.is_exactly(install_plans)
    groups = groups_of(scan.root, install_plans, scan.scheme, no_dist_info=bool(scan.stored_metadata))
    seen = seen_times(scan.root, groups, known)
    scan.untouched = seen.untouched_since(before)
    if not scan.is_exactly(install_plans):
        return False
    if scan.linked:
        change_cache.note(seen)
    return True


def _load(store: Store, entry: str, *, served: bool) -> InstallPlan:
    """The install plan of *entry*: what the finder serves has no modules in the environment."""
    whole = load_install_plan(store, entry, modules=not served)
    return without_modules(whole) if served else whole


def groups_of(
    root: int, install_plans: Mapping[str, InstallPlan], scheme: Scheme, *, no_dist_info: bool
) -> dict[str, list[str]]:
    """All folders that *install_plans* fill in the environment open as *root*, and the files that no link is.

    *no_dist_info*: the metadata folders of what the finder serves were put away.
    """
    common = ["pyvenv.cfg", f"{scheme.site}/", *_listed(root, FOLDER)]
    common += [path for path in _listed(root, scheme.site) if path.startswith(f"{scheme.site}/{_OURS}")]
    groups = {COMMON: common, BIN: list(_listed(root, BIN))}
    for entry, one in install_plans.items():
        groups[entry] = list(_paths(one, scheme, no_dist_info=no_dist_info and not one.folders))
    return groups


def _paths(one: InstallPlan, scheme: Scheme, *, no_dist_info: bool) -> Iterator[str]:
    site = scheme.site
    for folder in (*one.folders, *(() if no_dist_info else one.metadata_folders)):
        path = f"{site}/{folder.path}" if folder.path else site
        if folder.names or folder.empty:  # else it is there with what lies in it, and others' may come beside
            yield f"{path}/"
        if scheme.cache_tag and folder.sources:
            yield f"{path}/__pycache__/"
        yield from (f"{path}/{name}" for name, _, _ in folder.empty)
    if not no_dist_info:
        # The finder's are copies where no link is possible.
        names = _OWN if one.folders else (*_OWN, *one.metadata_folders[0].names)
        yield from (f"{site}/{one.metadata}/{name}" for name in names)
    yield from (f"{site}/{name}" for name, _, _ in one.copies)
    for other in one.data_files:
        if other.scheme != "scripts":  # those are in bin
            yield scheme_path(other, one.name, scheme)


def _listed(root: int, path: str) -> Iterator[str]:
    """A folder and what lies in it, which is not one install plan's alone."""
    with directory_beneath(root, path) as folder:
        if folder is not None:
            yield f"{path}/"
            with os.scandir(folder) as entries:
                yield from sorted(f"{path}/{entry.name}{'/' * entry.is_dir()}" for entry in entries)
