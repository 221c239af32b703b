"""Replacing distributions: the new files are made beside, then take the place of the old ones.

So at each moment a distribution is there as before or as after. Its modules come first, then its metadata,
which says that it is complete; what only the old one has goes last. Old folders come into the folder of
temporary names, which gives back what other programs put into them (`late_files`).
"""

from __future__ import annotations

import os

from pipm.fs.beneath import is_there, open_directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import mount_points_below
from pipm.fs.late_files import TREE, OwnPaths, note_own
from pipm.fs.opened import opened
from pipm.fs.swap_folders import SwapFolders, staged_tree
from pipm.fs.walk_tree import names_in
from pipm.sync.materialise import materialise
from pipm.sync.uninstall import entry_paths, installed_paths, remove, remove_unfinished, uninstall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from pipm.context.sync_context import SyncContext
    from pipm.core.install_plan import InstallPlan
    from pipm.core.plan.materialise_plan import MaterialisePlan, Wanted
    from pipm.core.plan.sync_plan import Installed
    from pipm.sync.materialise import Materialised

    Switched = TypeVar("Switched")

_METADATA = ".dist-info"


class Replacement:
    """Replaces the distributions *old* by *new* ones; *unfinished* are what a killed sync began to install.

    *claimed* are the files of all that stays.
    """

    def __init__(
        self,
        context: SyncContext,
        old: Sequence[Installed],
        new: Sequence[Wanted],
        unfinished: Sequence[InstallPlan],
        claimed: frozenset[str],
    ) -> None:
        self._context, self._unfinished, self._claimed = context, unfinished, claimed
        self._site = context.scheme.site
        self._recorded = {one: installed_paths(context, one) for one in old}
        plans = (*(one.install_plan for one in new), *unfinished)
        own = {path for paths in self._recorded.values() for path in paths}
        for install_plan in plans:
            own.update(entry_paths(install_plan, context.scheme))
            own.add(f"{self._site}/{install_plan.metadata}/RECORD")
        self._staged_or_old = own
        self._own = own - claimed
        mounted = mount_points_below(context.path)
        self._swap = SwapFolders(OwnPaths(self._own), context.staging, apart=self._site, mounted=mounted)

    def run(self, plan: MaterialisePlan, switch: Callable[[], Switched]) -> tuple[Materialised, Switched]:
        """Make the files of *plan*; call *switch* when all new ones are there, and all old ones still.

        Returns also what *switch* returns.
        """
        context, swap = self._context, self._swap
        with (
            opened(open_directory_beneath(context.root, self._site)) as site,
            opened(staged_tree(context.staging, TREE, site)) as tree,
        ):
            made = materialise(context._replace(root=tree), plan)
            note_own(context.staging, self._staged_or_old)
            sync_file_system(tree)  # a new name must replace an old one only if its bytes are on disk
            context.shared_state.check()
            with opened(open_directory_beneath(tree, self._site)) as staged:
                switched = self._place(tree, staged, site, switch)
        left = {path: state for path, state in made.left.items() if swap.is_below(path)}
        return made._replace(left=left | swap.left), switched

    def _place(self, tree: int, staged: int, site: int, switch: Callable[[], Switched]) -> Switched:
        swap, base = self._swap, self._site
        names = set(os.listdir(staged))
        metadata = {name for name in names if name.endswith(_METADATA)}
        modules = {name for name in names if name.isidentifier()}
        # Other folders have libraries that modules load (numpy.libs): new ones are added, and old ones stay.
        swap.place(staged, site, base, names - metadata - modules, whole=False)
        swap.place(staged, site, base, modules, whole=True)
        swap.place(tree, self._context.root, "", names_in(tree), whole=False)
        same = {name for name in metadata if is_there(site, name)}
        swap.place(staged, site, base, metadata - same, whole=False)
        switched = switch()
        self._remove_old(staged, site, names, same)
        swap.place(staged, site, base, same, whole=True)
        return switched

    def _remove_old(self, staged: int, site: int, names: set[str], same: set[str]) -> None:
        """Remove what no new distribution has, except metadata folders with the *same* name as a new one."""
        context, base = self._context, self._site
        inside = [path[len(base) + 1 :] for path in self._own if path.startswith(f"{base}/")]
        for name in {path.partition("/")[0] for path in inside if "/" in path} - names:
            if not name.endswith(_METADATA):
                self._swap.take_away(staged, site, base, name)
        for install_plan in self._unfinished:
            remove_unfinished(context, install_plan, self._stays)
        for one, paths in self._recorded.items():
            info = f"{one.site}/{one.metadata}/"
            remove(
                context,
                [path for path in paths if not self._stays(path) and not path.startswith(info)],
                one.site,
            )
            is_here = one.site == base
            if not (
                is_here and (one.metadata in same or self._swap.take_away(staged, site, base, one.metadata))
            ):
                uninstall(context, one, self._stays)

    def _stays(self, path: str) -> bool:
        return path in self._claimed or path in self._swap.files or self._swap.is_below(path)
