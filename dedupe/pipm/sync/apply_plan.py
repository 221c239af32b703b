"""Applying a plan to a locked environment: uninstall, materialise, write the root."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache

from pipm.context.environment_lock import root_of
from pipm.context.sync_context import SyncContext
from pipm.core.named_tuple import NamedTuple
from pipm.core.plan.materialise_plan import MaterialisePlan, find_collisions, plan_materialisation
from pipm.core.plan.sync_plan import plan_sync
from pipm.errors import CollisionError, LinkingImpossibleError, StoreError
from pipm.fs.clashes import refuse_clashes
from pipm.fs.durability import sync_file_system, syncing
from pipm.fs.free_space import file_system_type
from pipm.fs.late_files import OwnPaths
from pipm.fs.link_modes import LinkMode, can_hardlink, choose_link_mode
from pipm.fs.staging import staging
from pipm.store.roots import ADOPTED, SYNCED, SYNCING, find_root, prepare_root, write_root
from pipm.sync.materialise import materialise
from pipm.sync.replace import Replacement
from pipm.sync.uninstall import (
    claimed_paths,
    entry_paths,
    installed_paths,
    remove_unfinished,
    uninstall,
)
from pipm.wheel.stored_install_plans import load_install_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.install_plan import InstallPlan
    from pipm.core.plan.materialise_plan import Collision, SeparatePlans, Wanted
    from pipm.core.plan.sync_plan import Installed, InstalledMatch, SyncPlan
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.import_table import ImportTable
    from pipm.fs.durability import Aside
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.finder_sync import FinderSync
    from pipm.sync.installed_state import EnvironmentScan
    from pipm.sync.materialise import Materialised
    from pipm.sync.sync_values import Lock

_SHOWN = 5


class AppliedPlan(NamedTuple):
    """The result of applying a plan.

    ``made`` describes the new files; None if there was nothing to do. ``root`` is the environment's new root.
    """

    plan: SyncPlan
    root: Root
    collisions: tuple[Collision, ...] = ()
    made: Materialised | None = None


class PlanApplier(NamedTuple):
    """Applies plans to one locked environment, open as ``root``."""

    store: Store
    environment: Environment
    root: int
    scheme: Scheme
    interpreter: Interpreter | None
    shared_state: SharedState
    progress: Progress
    lock: Lock
    fingerprint: str
    link_mode: LinkMode | None
    clobber: bool
    later: bool
    apart: SeparatePlans | None = None
    """The plans of distributions that are known not to collide in a new environment."""
    finder_sync: FinderSync | None = None
    """The finder, or None. With it, the few other files are links if possible, else symlinks."""

    def apply(
        self,
        scan: EnvironmentScan,
        wanted: list[Wanted],
        idle: Callable[[], object],
        meanwhile: Callable[[AppliedPlan], None],
    ) -> AppliedPlan:
        """Make the environment contain exactly *wanted* and seeds.

        *idle* may be called while workers link, *meanwhile* is called during the sync of the file system.
        """
        previous = find_root(self.store, self.environment.path)
        is_empty = not scan.installed() and (previous is None or previous.state != SYNCING)
        apart = self.apart if is_empty else None
        collisions, plan, installed, kept, unfinished = plan_changes(
            scan, wanted, self.scheme, previous, clobber=self.clobber, collide=apart is None
        )
        besides = () if self.finder_sync is None else self.finder_sync.kept
        entries = tuple(sorted({*(one.entry for one in wanted), *besides}))
        with ExitStack() as stack, ExitStack() as kept_open:
            if not plan.materialised and not plan.uninstalled and not unfinished:
                mode = previous.link_mode if previous is not None and previous.link_mode else ""
                mode = mode or self._word(self._context(stack))
                stack.close()
                if self.finder_sync is not None:
                    self.finder_sync.end(self.finder_sync.begin())
                root = self._final_root(mode, entries, previous)
                done = AppliedPlan(plan=plan, root=root)
                self._finish(self._prepared(kept_open, root), done, meanwhile)
                return done
            context = self._context(stack)
            mode = self._word(context)
            root = self._final_root(mode, entries, previous)
            final = self._prepared(kept_open, root)  # now, since a full disk could prevent it later
            claimed: frozenset[str] = frozenset()
            if plan.uninstalled or unfinished:
                stay_put = [one for one, _ in installed if one.name in kept and one not in plan.uninstalled]
                unchanged = [one.install_plan for one in wanted if one not in plan.materialised]
                claimed = claimed_paths(context, unchanged, stay_put)
            chosen = apart or self._chosen(collisions, wanted, plan)
            if isinstance(chosen, MaterialisePlan):
                self._refuse_clashes(context, plan, chosen, unfinished, claimed)
            used = entries if previous is None else tuple(sorted({*entries, *previous.entries}))
            write_root(self.store, root._replace(state=SYNCING, entries=used))
            made, table = self._change(context, plan, chosen, unfinished, claimed, idle)
            stack.close()  # remove temporary files now: if a later sync finds nothing to do, it removes none
            if self.finder_sync is not None and table is not None:
                self.finder_sync.end(table, made.records, made.away)
            if made.pending and not root.pending:
                root = root._replace(pending=True)
                final = self._prepared(kept_open, root)
            done = AppliedPlan(plan=plan, root=root, collisions=collisions, made=made)
            self._finish(final, done, meanwhile)
        return done

    def _prepared(self, stack: ExitStack, root: Root) -> Aside:
        """Write *root* to a temporary file, which exists until *stack* closes."""
        final = prepare_root(self.store, root)
        stack.callback(final.drop)
        return final

    def _finish(self, final: Aside, done: AppliedPlan, meanwhile: Callable[[AppliedPlan], None]) -> None:
        """Publish the root, after a sync of all files that it describes, also those of a killed run."""
        with syncing([self.root, self.store.roots]):
            meanwhile(done)
        final.publish()

    def _refuse_clashes(
        self,
        context: SyncContext,
        plan: SyncPlan,
        chosen: MaterialisePlan,
        unfinished: list[InstallPlan],
        claimed: frozenset[str],
    ) -> None:
        """Raise FileSystemError, before anything changes, for a symlink where a folder belongs, say."""

        @cache
        def own() -> OwnPaths:  # seldom needed
            paths = {path for one in plan.uninstalled for path in installed_paths(context, one)}
            paths.update(*(entry_paths(install_plan, self.scheme) for install_plan in unfinished))
            return OwnPaths(paths - claimed)

        metadata_folders = (folder for _, folders in chosen.metadata_folders for folder in folders)
        planned = {folder.path: folder.names for folder in (*chosen.folders, *metadata_folders)}
        programs = {name for one in plan.materialised for name in _programs(one.install_plan)}
        if programs:
            planned["bin"] = lambda: programs
        refuse_clashes(self.root, self.environment.path, planned, own)

    def _change(
        self,
        context: SyncContext,
        plan: SyncPlan,
        chosen: MaterialisePlan | SeparatePlans,
        unfinished: list[InstallPlan],
        claimed: frozenset[str],
        idle: Callable[[], object],
    ) -> tuple[Materialised, ImportTable | None]:
        """Remove what goes and make the files of *chosen*; *claimed* are the files of all that stays."""
        if plan.replaced and isinstance(chosen, MaterialisePlan):
            replacement = Replacement(context, plan.uninstalled, plan.materialised, unfinished, claimed)
            return replacement.run(chosen, self._switch)
        table = self._begin()
        for one in plan.uninstalled:
            uninstall(context, one, claimed.__contains__)
        for install_plan in unfinished:
            remove_unfinished(context, install_plan, claimed.__contains__)
        return materialise(context, chosen, idle), table

    def _switch(self) -> ImportTable | None:
        """Install the finder where one is; it serves by metadata folders, so new ones are on disk first.

        btrfs writes a synced file without the names that were changed before it.
        """
        if self.finder_sync is not None:
            sync_file_system(self.root)
        return self._begin()

    def _begin(self) -> ImportTable | None:
        """Install the finder, if there shall be one."""
        return None if self.finder_sync is None else self.finder_sync.begin()

    def _is_pending(self, previous: Root | None) -> bool:
        """Return True if bytecode is pending already, in the environment or in the store for the finder."""
        before = previous is not None and previous.pending
        return self.later and (before or (self.finder_sync is not None and self.finder_sync.pending))

    def _word(self, context: SyncContext) -> str:
        """Return the name of the environment's link mode."""
        return context.mode.value if self.finder_sync is None else LinkMode.FINDER.value

    def _chosen(
        self, collisions: tuple[Collision, ...], wanted: list[Wanted], plan: SyncPlan
    ) -> MaterialisePlan:
        """Return the plan of new files; of two distributions with one path, the same one keeps it."""
        chosen = plan.materialised
        if len(chosen) == len(wanted):
            return plan_materialisation(wanted, self.scheme)
        touched = {one.entry for one in chosen}
        # A file that an installed distribution overwrote stays overwritten, and vice versa.
        chosen += [
            collision.other
            for collision in collisions
            if collision.one.entry in touched and collision.other.entry not in touched
        ]
        order = {one.entry: number for number, one in enumerate(wanted)}
        unique = {one.entry: one for one in chosen}
        return plan_materialisation(sorted(unique.values(), key=lambda one: order[one.entry]), self.scheme)

    def _context(self, stack: ExitStack) -> SyncContext:
        run, run_path = stack.enter_context(self.store.run())
        folder = stack.enter_context(staging(self.root))
        return SyncContext(
            store=self.store,
            root=self.root,
            path=self.environment.path,
            run=run,
            run_path=run_path,
            scheme=self.scheme,
            interpreter=self.interpreter,
            mode=self._mode(run, run_path, folder),
            staging=folder,
            no_dist_info=self.finder_sync is not None and self.finder_sync.starts_without_dist_info,
            later=self.later,
            shared_state=self.shared_state,
            progress=self.progress,
        )

    def _mode(self, run: int, run_path: str, folder: int) -> LinkMode:
        if self.finder_sync is not None:
            return LinkMode.HARDLINK if can_hardlink(run, run_path, folder) else LinkMode.SYMLINK
        try:
            return choose_link_mode(self.link_mode, run, run_path, folder)
        except LinkingImpossibleError as error:
            kinds = [file_system_type(path) or "?" for path in (self.store.path, self.environment.path)]
            raise LinkingImpossibleError(
                f"Cannot share files between {self.store.path} ({kinds[0]}) and"
                f" {self.environment.path} ({kinds[1]}): {error.message}",
                hint="use a store on that file system (--store DIR), or --link-mode symlink or copy",
            ) from error

    def _final_root(self, mode: str, entries: tuple[str, ...], previous: Root | None) -> Root:
        """Return the root for the end of the sync, before it records pending bytecode."""
        lock = self.lock
        return root_of(self.environment, mode, SYNCED, entries)._replace(
            lock=lock.path,
            fingerprint=self.fingerprint,
            content=lock.content,
            words=lock.words,
            pending=self._is_pending(previous),
        )


def plan_changes(
    scan: EnvironmentScan,
    wanted: list[Wanted],
    scheme: Scheme,
    previous: Root | None,
    *,
    clobber: bool,
    collide: bool = True,
) -> tuple[
    tuple[Collision, ...],
    SyncPlan,
    list[tuple[Installed, InstalledMatch]],
    frozenset[str],
    list[InstallPlan],
]:
    """Decide what a sync, real or previewed, changes; raise CollisionError if distributions may *collide*.

    Returns the collisions, the plan of the changes, the installed distributions, the names of those that
    stay, and the install plans that a killed sync began.
    """
    collisions = find_collisions(wanted, scheme) if collide else ()
    if collisions and not clobber:
        raise _collision(collisions)
    lost = frozenset((collision.one.entry, collision.path) for collision in collisions)
    unfinished = _unfinished(scan, wanted, previous)
    leftovers = {install_plan.metadata for install_plan in unfinished}
    installed = [row for row in scan.compared(wanted, lost) if row[0].metadata not in leftovers]
    kept = scan.kept()
    return collisions, plan_sync(wanted, installed, kept), installed, kept, unfinished


def _unfinished(scan: EnvironmentScan, wanted: list[Wanted], previous: Root | None) -> list[InstallPlan]:
    """Return unwanted entries of *previous* without a RECORD: a killed sync began to install them."""
    if previous is None or previous.state in (SYNCED, ADOPTED):
        return []
    complete = {one.metadata for one in scan.installed() if one.removable}
    asked = {one.entry for one in wanted}
    found = []
    for entry in previous.entries:
        if entry in asked:
            continue
        try:
            install_plan = load_install_plan(scan.store, entry)
        except StoreError:  # a partial entry from an adoption: no sync installs it
            continue
        if install_plan.metadata not in complete:
            found.append(install_plan)
    return found


def _programs(install_plan: InstallPlan) -> Iterable[str]:
    yield from (name for name, _ in install_plan.scripts)
    yield from (other.path for other in install_plan.data_files if other.scheme == "scripts")


def names_and_versions(wanted: Iterable[Wanted]) -> tuple[tuple[str, str], ...]:
    """Return the name and version of each distribution."""
    return tuple((one.name, one.version) for one in wanted)


def _collision(collisions: tuple[Collision, ...]) -> CollisionError:
    first = collisions[0]
    more = f" (and {len(collisions) - 1} more files)" if len(collisions) > 1 else ""
    return CollisionError(
        f"{first.one.shown} and {first.other.shown} contain different files {first.path}{more}",
        hint="--clobber keeps the file of the later one, like pip",
    )
