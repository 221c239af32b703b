"""Changing an environment that is held into what is wanted: uninstall, materialise, root."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.environment_lock import root_of
from pipm.context.sync_context import Ground
from pipm.core.plan.materialise_plan import plan_materialisation
from pipm.core.plan.sync_plan import plan_sync
from pipm.errors import CollisionError, LinkingImpossibleError, StoreError
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import file_system_type
from pipm.fs.link_modes import LinkMode, can_hardlink, choose_link_mode
from pipm.fs.staging import staging, sweep
from pipm.store.roots import ADOPTED, SYNCED, SYNCING, find_root, prepare_root, write_root
from pipm.sync.materialise import materialise
from pipm.sync.uninstall import claimed_paths, remove_unfinished, uninstall
from pipm.wheel.stored_install_plans import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.context.progress import Progress
    from pipm.context.workers import Pulse
    from pipm.core.install_plan import Blueprint
    from pipm.core.plan.materialise_plan import Clash, Materialisation, Wanted
    from pipm.core.plan.sync_plan import SyncPlan
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.finder_sync import Serving
    from pipm.sync.installed_state import Survey
    from pipm.sync.materialise import Materialised
    from pipm.sync.sync_values import Lock

_SHOWN = 5


class Settled(NamedTuple):
    """What was done by which link mode; ``files`` were placed, ``fallen`` of them copied.

    ``made`` says what it wrote and how it left that; None where there was nothing to do.
    """

    plan: SyncPlan
    link_mode: str
    files: int = 0
    fallen: int = 0
    clashes: tuple[Clash, ...] = ()
    made: Materialised | None = None


class Settler(NamedTuple):
    """One environment, open as ``root`` and locked, and how it shall follow its lock."""

    store: Store
    environment: Environment
    root: int
    scheme: Scheme
    interpreter: Interpreter | None
    pulse: Pulse
    progress: Progress
    lock: Lock
    promise: str
    link_mode: LinkMode | None
    clobber: bool
    serving: Serving | None = None
    """With it modules come from the store; the few other files are links where those work, else symlinks."""

    def settle(self, survey: Survey, wanted: list[Wanted], stay: frozenset[str]) -> Settled:
        """Make the environment hold exactly *wanted*, what *stay* names, and what always stays."""
        everything = plan_materialisation(wanted, self.scheme)
        if everything.clashes and not self.clobber:
            raise _collision(everything.clashes)
        lost = frozenset((clash.one.entry, clash.path) for clash in everything.clashes)
        unfinished = self._unfinished(survey, wanted)
        leftovers = {blueprint.metadata for blueprint in unfinished}
        standing = [row for row in survey.compared(wanted, lost) if row[0].metadata not in leftovers]
        kept = survey.kept() | stay
        plan = plan_sync(wanted, standing, kept)
        previous = find_root(self.store, self.environment.path)
        besides = () if self.serving is None else self.serving.kept
        entries = tuple(sorted({*(one.entry for one in wanted), *besides}))
        with ExitStack() as stack, ExitStack() as kept_open:
            if not plan.materialised and not plan.uninstalled and not unfinished:
                mode = previous.link_mode if previous is not None and previous.link_mode else ""
                mode = mode or self._word(self._ground(stack))
                stack.close()
                self.store.sweep()  # of a run that was killed when all was done but this
                sweep(self.root)
                if self.serving is not None:
                    self.serving.end(self.serving.begin())
                sync_file_system(self.root)  # a killed run may have written it
                write_root(self.store, self._root(mode, SYNCED, entries))
                return Settled(plan=plan, link_mode=mode)
            ground = self._ground(stack)
            mode = self._word(ground)
            # Both are on disk before the first file is touched: what is used, and what will be.
            final = prepare_root(self.store, self._root(mode, SYNCED, entries))
            kept_open.callback(final.drop)
            used = entries if previous is None else tuple(sorted({*entries, *previous.entries}))
            write_root(self.store, self._root(mode, SYNCING, used))
            table = None if self.serving is None else self.serving.begin()
            if plan.uninstalled or unfinished:
                stay_put = [one for one, _ in standing if one.name in kept and one not in plan.uninstalled]
                unchanged = [one.blueprint for one in wanted if one not in plan.materialised]
                claimed = claimed_paths(ground, unchanged, stay_put)
                for one in plan.uninstalled:
                    uninstall(ground, one, claimed)
                for blueprint in unfinished:
                    remove_unfinished(ground, blueprint, claimed)
            done = materialise(ground, self._chosen(everything, wanted, plan))
            stack.close()  # a killed run's temporary names are swept by the next, unless that finds all done
            if self.serving is not None and table is not None:
                self.serving.end(table, done.records, done.away)
            sync_file_system(self.root)  # a root that says "synced" speaks for bytes that are on disk
            final.publish()
        return Settled(
            plan=plan,
            link_mode=mode,
            files=done.files,
            fallen=done.fallen,
            clashes=everything.clashes,
            made=done,
        )

    def _word(self, ground: Ground) -> str:
        """The word for how the environment shares."""
        return ground.mode.value if self.serving is None else LinkMode.FINDER.value

    def _chosen(self, everything: Materialisation, wanted: list[Wanted], plan: SyncPlan) -> Materialisation:
        """The plan for what gets files; of a clash, the one that has the file still has it afterwards."""
        chosen = plan.materialised
        if len(chosen) == len(wanted):
            return everything
        touched = {one.entry for one in chosen}
        # Who lost a file to a distribution that stands would take it back, and the reverse.
        chosen += [
            clash.other
            for clash in everything.clashes
            if clash.one.entry in touched and clash.other.entry not in touched
        ]
        order = {one.entry: number for number, one in enumerate(wanted)}
        unique = {one.entry: one for one in chosen}
        return plan_materialisation(sorted(unique.values(), key=lambda one: order[one.entry]), self.scheme)

    def _ground(self, stack: ExitStack) -> Ground:
        run, run_path = stack.enter_context(self.store.run())
        folder = stack.enter_context(staging(self.root))
        return Ground(
            store=self.store,
            root=self.root,
            path=self.environment.path,
            run=run,
            run_path=run_path,
            scheme=self.scheme,
            interpreter=self.interpreter,
            mode=self._mode(run, run_path, folder),
            staging=folder,
            hidden=self.serving is not None and self.serving.hides_at_once,
            pulse=self.pulse,
            progress=self.progress,
        )

    def _mode(self, run: int, run_path: str, folder: int) -> LinkMode:
        if self.serving is not None:
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

    def _root(self, mode: str, state: str, entries: tuple[str, ...]) -> Root:
        root = root_of(self.environment, mode, state, entries)
        lock = self.lock
        return root._replace(lock=lock.path, promise=self.promise, content=lock.content, words=lock.words)

    def _unfinished(self, survey: Survey, wanted: list[Wanted]) -> list[Blueprint]:
        """What a killed sync began and nobody wants now: entries of the root whose RECORD is not there."""
        previous = find_root(self.store, self.environment.path)
        if previous is None or previous.state in (SYNCED, ADOPTED):
            return []
        complete = {one.metadata for one in survey.standing() if one.removable}
        asked = {one.entry for one in wanted}
        found = []
        for entry in previous.entries:
            if entry in asked:
                continue
            try:
                blueprint = load_blueprint(self.store, entry)
            except StoreError:  # it was adopted from another tool, in part: no sync began with it
                continue
            if blueprint.metadata not in complete:
                found.append(blueprint)
        return found


def shown(wanted: Iterable[Wanted]) -> tuple[tuple[str, str], ...]:
    """Names and versions."""
    return tuple((one.blueprint.name, one.blueprint.version) for one in wanted)


def _collision(clashes: tuple[Clash, ...]) -> CollisionError:
    first = clashes[0]
    more = f" (and {len(clashes) - 1} more files)" if len(clashes) > 1 else ""
    return CollisionError(
        f"{first.one.shown} and {first.other.shown} bring different files {first.path}{more}",
        hint="--clobber lets the later one win, as pip does",
    )
