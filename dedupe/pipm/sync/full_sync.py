"""The whole of a sync: the lock is read, what is missing fetched, the environment changed."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipm.context.environment_lock import held
from pipm.core.install_plan import without_modules
from pipm.core.pins import Folder
from pipm.core.plan.materialise_plan import Wanted
from pipm.core.plan.sync_plan import plan_sync
from pipm.env.ask_target import ask_target
from pipm.env.receipt import read_receipt
from pipm.errors import UsageError
from pipm.finder.metadata_store import bring_back, hidden_entries
from pipm.fs.durability import sync_tree
from pipm.fs.link_modes import LinkMode
from pipm.store.layers import open_layers
from pipm.store.layout import keep_reserve
from pipm.store.roots import SYNCED, SYNCING, find_root
from pipm.sync.apply_plan import Settler, shown
from pipm.sync.change_cache import BIN, COMMON, NOTHING, Evidence, look
from pipm.sync.choose_finder import wants_finder
from pipm.sync.editable import (
    install_editables,
    is_editable,
    missing_editables,
    note_editables,
    project_state,
    standing_editables,
)
from pipm.sync.full_check import groups_of, looks_exact
from pipm.sync.installed_state import Survey
from pipm.sync.pin_resolver import Shelf, Trust
from pipm.sync.sync_values import Lock, Synced, SyncOptions
from pipm.sync.target_environment import made, running, scheme_of
from pipm.wheel.environment_files import direct_url
from pipm.wheel.stored_install_plans import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipm.context.progress import Progress
    from pipm.context.workers import Pulse
    from pipm.core.pins import Pin
    from pipm.core.plan.sync_plan import Standing
    from pipm.core.scheme import Scheme
    from pipm.core.target import Target
    from pipm.env.environment import Environment
    from pipm.finder.import_table import LockRow
    from pipm.store.layout import Store
    from pipm.sync.apply_plan import Settled
    from pipm.sync.change_cache import Seen, Times
    from pipm.sync.fetch_wheels import Fetched
    from pipm.sync.finder_sync import Serving
    from pipm.sync.target_environment import Place
    from pipm.wheel.record_hashes import Doubt


class Following:
    """One sync of one environment, the long way."""

    def __init__(
        self,
        store: Store,
        place: Place,
        lock: Lock,
        options: SyncOptions,
        progress: Progress,
        pulse: Pulse,
    ) -> None:
        self.store, self.place, self.lock = store, place, lock
        self.options, self.progress, self.pulse = options, progress, pulse

    def all_of_it(self) -> Synced:
        """Read the lock, fetch what is missing, then change the environment."""
        target = ask_target(self.place.python)
        pins = list(self.lock.pins(target))
        trust = Trust(stored=self.options.prefer_stored, adopted=self.options.trust_adopted)
        shelf = Shelf(self.store, target, trust)
        ordinary = [pin for pin in pins if not is_editable(pin)]
        with ExitStack() as stack:
            stack.enter_context(self.store.writing())  # what is found below must not be collected
            entries = {pin.name: shelf.find(pin) for pin in ordinary}
            if not self.options.dry_run:
                entries |= self._pulled([pin for pin in ordinary if entries[pin.name] is None], target, trust)
            missing = [pin for pin in ordinary if entries[pin.name] is None]
            if self.options.dry_run:
                return self._preview(pins, entries)
            doubts: tuple[Doubt, ...] = ()
            if missing:
                fetched = self._fetched(missing, shelf, target)
                entries |= fetched.entries
                doubts = fetched.doubts
            self.pulse.check()
            wanted = [self._wanted(pin, entry) for pin in ordinary if (entry := entries[pin.name])]
            environment, created = made(self.place, self.store.path)
            editables = [pin for pin in pins if is_editable(pin)]
            done = self._settle(environment, wanted, editables, target, fresh=created)
            keep_reserve(self.store)
        return done._replace(created=created, fetched=len(missing), doubts=doubts)

    def _fetched(self, missing: list[Pin], shelf: Shelf, target: Target) -> Fetched:
        """What pip fetched or built."""
        from pipm.sync.fetch_wheels import Fetching, fetch  # noqa: PLC0415 - 50 ms that a warm store saves
        from pipm.wheel.run_pip import find_pip  # noqa: PLC0415

        pip = find_pip(self.place.python, target)
        with self.store.run() as (run, run_path):
            fetching = Fetching(shelf=shelf, pip=pip, run=run, run_path=run_path, pulse=self.pulse)
            return fetch(fetching, missing, self.progress)

    def _pulled(self, pins: list[Pin], target: Target, trust: Trust) -> dict[str, str | None]:
        """Entries that a read-only layer has, by name, in the own store now."""
        if not pins:
            return {}
        from pipm.share.copy_from_layer import pull_entry  # noqa: PLC0415 - of what the own store lacks

        found: dict[str, str | None] = {}
        for layer in open_layers(self.store.path):
            shelf = Shelf(layer, target, trust)
            with self.store.run() as (run, _):
                for pin in pins:
                    entry = None if pin.name in found else shelf.find(pin)
                    if entry is not None:
                        found[pin.name] = pull_entry(self.store, run, layer, entry)
        return found

    def _wanted(self, pin: Pin, entry: str) -> Wanted:
        # What the finder serves has no modules in the environment.
        blueprint = load_blueprint(self.store, entry, modules=self.options.link_mode is not LinkMode.FINDER)
        return Wanted(entry=entry, blueprint=blueprint, direct_url=direct_url(pin))

    def _settle(
        self,
        environment: Environment,
        wanted: list[Wanted],
        editables: list[Pin],
        target: Target,
        *,
        fresh: bool,
    ) -> Synced:
        scheme, interpreter = scheme_of(environment, compiled=self.options.compiled)
        # A folder may change without its lock: then only looking at all of it tells.
        anew = editables or any(one.direct_url and b"dir_info" in one.direct_url for one in wanted)
        with held(self.store, environment, self.progress) as root:
            were_hidden = bring_back(self.store, root)
            previous = find_root(self.store, environment.path)
            doubted = previous is not None and previous.state == SYNCING
            survey = Survey(self.store, root, environment, scheme, interpreter, doubted=doubted)
            before = NOTHING if fresh or were_hidden else self._unchanged(environment, root, scheme)
            hidden = self.options.dist_info is False or (self.options.dist_info is None and were_hidden)
            serving = self._serving(environment, root, survey, wanted, hidden=hidden, fresh=fresh)
            if serving is not None:
                wanted = serving.service.wanted
            if before.groups:
                groups = groups_of(root, {one.entry: one.blueprint for one in wanted}, scheme, hidden=False)
                survey.untouched = before.named_in(groups)
            settler = Settler(
                store=self.store,
                environment=environment,
                root=root,
                scheme=scheme,
                interpreter=interpreter,
                pulse=self.pulse,
                progress=self.progress,
                lock=self.lock,
                promise="" if anew else self.lock.promise,
                link_mode=self.options.link_mode,
                clobber=self.options.clobber,
                serving=serving,
            )
            standing = standing_editables(survey, editables)
            later = missing_editables(survey, editables, standing)
            # What pip installs anew it removes itself, once the new one is built.
            done = settler.settle(survey, wanted, frozenset(standing))
            if not hidden and (fresh or before.groups):
                self._note(survey, wanted, done, before)
        # pip locks nothing and writes pyvenv.cfg's environment by itself.
        states = {pin.name: project_state(pin) for pin in later}
        install_editables(self.store, later, running(environment), target, lambda: self.pulse.stopping)
        versions: dict[str, str] = {}
        if later:
            sync_tree(environment.path)  # the note says that all of it is there
            with held(self.store, environment, self.progress) as root:
                survey = Survey(self.store, root, environment, scheme, interpreter)
                versions = note_editables(survey, later, states)
        later = [pin._replace(version=versions.get(pin.name, pin.version)) for pin in later]
        return _told(environment, done, later, standing)

    def _unchanged(self, environment: Environment, root: int, scheme: Scheme) -> Seen:
        """What is as the last sync left it or saw it."""
        previous = find_root(self.store, environment.path)
        if previous is None or previous.state != SYNCED:
            return NOTHING
        evidence = Evidence(environment, root, previous, scheme)
        evidence.holds()
        return evidence.before

    def _note(self, survey: Survey, wanted: list[Wanted], done: Settled, before: Seen) -> None:
        """Let the next sync know by what it is seen that nothing changed since."""
        environment, root, scheme = survey.environment, survey.root, survey.scheme
        known = find_root(self.store, environment.path)
        blueprints = {one.entry: one.blueprint for one in wanted}
        odd = done.fallen or done.clashes or done.plan.stuck
        if known is None or odd or blueprints.keys() != set(known.entries):
            return
        evidence = Evidence(environment, root, known, scheme)
        if not evidence.is_kept:
            return
        left = {} if done.made is None else {f"{path}/": state for path, state in done.made.left.items()}
        if before.groups:
            looks_exact(survey, blueprints, before, evidence, _still(before, done, left))
        elif left:  # of a new environment: nobody else was there meanwhile
            evidence.note(look(root, groups_of(root, blueprints, scheme, hidden=False), left))

    def _row(self, environment: Environment) -> LockRow:
        """What the finder's table says of the lock: a start tells by it that the lock changed since."""
        lock = self.lock
        if lock.stamp is None:
            return ()
        remedy = shlex.join(["pipm", "sync", lock.path, "--env", environment.path, *lock.words])
        return (lock.path, *lock.stamp, remedy)

    def _serving(
        self,
        environment: Environment,
        root: int,
        survey: Survey,
        wanted: list[Wanted],
        *,
        hidden: bool,
        fresh: bool,
    ) -> Serving | None:
        """The finder's part, compiled in the store; None where files are linked.

        Raises UsageError where metadata folders shall be *hidden* and there would be no finder.
        """
        mode, progress = self.options.link_mode, self.progress
        if not wants_finder(self.store, environment, root, survey, wanted, mode, progress):
            if hidden:
                raise UsageError(
                    f"{environment.path} is not served by the finder, without which no program would know of"
                    " its distributions",
                    hint="add --link-mode finder, or leave --no-dist-info out",
                )
            return None
        from pipm.sync.finder_sync import Serving, divide  # noqa: PLC0415 - of the finder alone

        service = divide(self.store, environment, root, survey, wanted)
        row = self._row(environment)
        serving = Serving(self.store, environment, root, service, row, hidden=hidden, fresh=fresh)
        if self.options.compiled:
            serving.compile(self.pulse, progress)
        return serving

    def _preview(self, pins: list[Pin], entries: dict[str, str | None]) -> Synced:
        """What would be done; what must be fetched first is compared by its version alone."""
        missing = {pin.name: pin.version or "?" for pin in pins if entries.get(pin.name) is None}
        wanted = [self._wanted(pin, entry) for pin in pins if (entry := entries.get(pin.name))]
        environment = self.place.environment
        if environment is None:
            added = shown(wanted) + tuple(missing.items())
            return Synced(path=self.place.path, link_mode="", created=True, added=added, fetched=len(missing))
        scheme, interpreter = scheme_of(environment, compiled=self.options.compiled)
        with held(self.store, environment, self.progress) as root:
            hidden = hidden_entries(root)
            receipt = read_receipt(root)
            served = set() if receipt is None else {row.entry for row in receipt.folded.values()}
            wanted_all, wanted = (
                wanted,
                [
                    one._replace(blueprint=without_modules(one.blueprint)) if one.entry in served else one
                    for one in wanted
                    if one.entry not in hidden
                ],
            )
            survey = Survey(self.store, root, environment, scheme, interpreter)
            local = [pin for pin in pins if isinstance(pin.origin, Folder) and pin.origin.editable]
            there = standing_editables(survey, local)
            later = {pin.name for pin in missing_editables(survey, local, there)}
            stay = there.keys() - later
            missing = {name: version for name, version in missing.items() if name not in stay}
            plan = plan_sync(wanted, survey.compared(wanted, frozenset()), survey.kept() | there.keys())
        gone = {one.name: one.version for one in plan.removed}
        gone |= {name: one.version for name, one in there.items() if name in later}
        asked = {one.entry for one in wanted_all}
        gone |= {entry.split("/")[0]: entry.split("/")[1] for entry in hidden if entry not in asked}
        return Synced(
            path=environment.path,
            link_mode="",
            added=shown(plan.added) + tuple(row for row in missing.items() if row[0] not in gone),
            replaced=(
                *((old.name, old.version, new.blueprint.version) for old, new in plan.replaced),
                *((name, gone[name], version) for name, version in missing.items() if name in gone),
            ),
            mended=shown(plan.mended),
            removed=tuple(row for row in gone.items() if row[0] not in missing),
            stuck=tuple((one.name, one.version) for one in plan.stuck),
            unchanged=plan.unchanged + len(stay) + len(wanted_all) - len(wanted),
            fetched=len(missing.keys() - later),
        )


def _still(before: Seen, done: Settled, left: Times) -> Times:
    """The times from *before* of what was not touched, as far as that is known: a wrong one costs a look."""
    if done.plan.uninstalled:
        return {}
    touched = {COMMON, BIN, *(one.entry for one in done.plan.materialised)}
    groups = [paths for name, paths in before.groups.items() if name not in touched]
    return {path: before.times[path] for paths in groups for path in paths if path not in left}


def _told(
    environment: Environment, done: Settled, later: list[Pin], standing: Mapping[str, Standing]
) -> Synced:
    """What was done; *later* are editable and were installed, *standing* were there before."""
    added = tuple((pin.name, pin.version or "") for pin in later if pin.name not in standing)
    again = [(pin, standing[pin.name].version) for pin in later if pin.name in standing]
    return Synced(
        path=environment.path,
        link_mode=done.link_mode,
        added=shown(done.plan.added) + added,
        replaced=(
            *((old.name, old.version, new.blueprint.version) for old, new in done.plan.replaced),
            *((pin.name, version, pin.version or version) for pin, version in again),
        ),
        mended=shown(done.plan.mended),
        removed=tuple((one.name, one.version) for one in done.plan.removed if one.name not in dict(added)),
        stuck=tuple((one.name, one.version) for one in done.plan.stuck),
        unchanged=done.plan.unchanged + len(standing) - len(again),
        files=done.files,
        fallen=done.fallen,
        clashes=tuple(clash.path for clash in done.clashes),
    )
