"""What a sync notes for later ones, while the disk writes: the change cache, and the set of its entries."""

from __future__ import annotations

from functools import cache

from pipm.sync.change_cache import BIN, COMMON, ChangeCache, seen_times
from pipm.sync.full_check import entry_paths, groups_of, passes_plan_check
from pipm.sync.separate_sets import note_set, scheme_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.core.scheme import Scheme
    from pipm.sync.apply_plan import AppliedPlan
    from pipm.sync.change_cache import Groups, SeenTimes, Times
    from pipm.sync.installed_state import EnvironmentScan
    from pipm.sync.separate_sets import SeparateSet


class ChangeNote:
    """Notes the state of the environment of *scan* after a sync of *wanted*.

    *before* are the times of what did not change since the last sync; none if the environment is new.
    *target* names the kind of environment for `separate_sets`, or is "", and *known* is the set, if known.
    """

    def __init__(
        self,
        scan: EnvironmentScan,
        wanted: list[Wanted],
        before: SeenTimes,
        known: SeparateSet | None,
        target: str,
    ) -> None:
        self._scan, self._wanted, self._before = scan, wanted, before
        self._known, self._target = known, target
        self.paths = cache(self._paths)

    def _paths(self, scheme: Scheme) -> Groups:
        """Return the paths of each entry (see `entry_paths`)."""
        if self._known is not None and self._known.scheme == scheme_key(scheme):
            return self._known.paths()
        install_plans = {one.entry: one.install_plan for one in self._wanted}
        return entry_paths(install_plans, scheme, no_dist_info=False)

    def write(self, done: AppliedPlan) -> None:
        """Write the notes after the changes *done*."""
        scan, before, made = self._scan, self._before, done.made
        if done.root.pending:
            scan.scheme = scan.scheme.without_bytecode()
        root, scheme = scan.root, scan.scheme
        odd = (made is not None and made.copied) or done.collisions or done.plan.stuck
        if odd or {one.entry for one in self._wanted} != set(done.root.entries):
            return
        change_cache = ChangeCache(scan.environment, root, done.root, scheme)
        if not change_cache.is_kept:
            return
        left = {} if made is None else {f"{path}/": state for path, state in made.left.items()}
        if done.plan.replaced and made is not None and not made.uncompiled:
            scan.made = frozenset(one.entry for one in done.plan.materialised)
        if before.groups:
            install_plans = {one.entry: one.install_plan for one in self._wanted}
            still = _still(before, done, left)
            passes_plan_check(scan, install_plans, before, change_cache, still, self.paths(scheme))
        elif left:  # a new environment: no other process used it meanwhile
            change_cache.note(seen_times(root, groups_of(root, scheme, self.paths(scheme)), left))
            is_whole = len(done.plan.added) == len(self._wanted) and not done.root.pending
            if self._target and self._known is None and is_whole:
                note_set(scan.store, self._wanted, self._target, scheme, self.paths(scheme))


def _still(before: SeenTimes, done: AppliedPlan, left: Times) -> Times:
    """Return the times from *before* of groups that the sync did not change; a wrong time costs a check."""
    if done.plan.uninstalled:
        return {}
    touched = {COMMON, BIN, *(one.entry for one in done.plan.materialised)}
    groups = [paths for name, paths in before.groups.items() if name not in touched]
    return {path: before.times[path] for paths in groups for path in paths if path not in left}
