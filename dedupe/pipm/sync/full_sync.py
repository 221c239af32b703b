"""A full sync: read the lock, fetch missing wheels, change the environment."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from functools import cache, partial

from pipm.context.environment_lock import locked_environment
from pipm.core.install_plan import without_modules
from pipm.core.pins import SourceFolder, is_editable
from pipm.core.plan.materialise_plan import SeparatePlans, Wanted, at_hand
from pipm.env.ask_target import ask_target
from pipm.env.interpreter import ask_interpreter
from pipm.env.receipt import read_receipt, receipt_at
from pipm.errors import UsageError
from pipm.finder.metadata_store import restore_metadata, stored_metadata_entries
from pipm.fs.link_modes import LinkMode
from pipm.store.entries import has_entry
from pipm.store.layers import is_served_in_place, open_layers
from pipm.store.layout import keep_reserve
from pipm.store.roots import SYNCED, SYNCING, find_root
from pipm.sync.apply_plan import PlanApplier, names_and_versions, plan_changes
from pipm.sync.change_cache import NOTHING, ChangeCache
from pipm.sync.change_note import ChangeNote
from pipm.sync.choose_finder import wants_finder
from pipm.sync.full_check import groups_of
from pipm.sync.installed_state import EnvironmentScan
from pipm.sync.known_projects import remember_projects
from pipm.sync.pin_resolver import PinResolver, Trust
from pipm.sync.separate_sets import read_set, scheme_key
from pipm.sync.sync_values import Lock, SyncOptions, SyncResult
from pipm.sync.target_environment import create_if_missing, find_target, scheme_of
from pipm.sync.uv_note import uv_note
from pipm.wheel.environment_files import direct_url
from pipm.wheel.stored_install_plans import load_install_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.pins import Pin
    from pipm.core.scheme import Scheme
    from pipm.core.target import Target
    from pipm.env.environment import Environment
    from pipm.finder.import_table import LockRow
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.apply_plan import AppliedPlan
    from pipm.sync.change_cache import SeenTimes
    from pipm.sync.fetched_wheels import Fetched
    from pipm.sync.finder_sync import FinderSync
    from pipm.sync.separate_sets import SeparateSet
    from pipm.sync.target_environment import TargetEnvironment
    from pipm.wheel.record_hashes import RecordMismatch


class FullSync:
    """One full sync of one environment."""

    def __init__(
        self,
        store: Store,
        destination: TargetEnvironment,
        lock: Lock,
        options: SyncOptions,
        progress: Progress,
        shared_state: SharedState,
    ) -> None:
        self.store, self.destination, self.lock = store, destination, lock
        self.options, self.progress, self.shared_state = options, progress, shared_state
        self.fingerprint = ""
        self.built: frozenset[str] = frozenset()
        """Entries that this sync built."""

    def run_all(self) -> SyncResult:
        """Read the lock, fetch missing wheels, then change the environment."""
        target = ask_target(self.destination.python)
        pins = list(self.lock.pins(target))
        trust = Trust(stored=self.options.prefer_stored, adopted=self.options.trust_adopted)
        resolver = PinResolver(self.store, target, trust)
        with ExitStack() as stack:
            stack.enter_context(self.store.writing())  # so that gc removes no entry that is found below
            entries = {pin.name: resolver.find(pin) for pin in pins}
            lacking = [pin for pin in pins if entries[pin.name] is None and not _is_local(pin)]
            layered = self._in_layers(lacking, target, trust)
            if self.options.dry_run:
                return self._preview(pins, entries | {name: entry for name, (_, entry) in layered.items()})
            if lacking:
                entries |= self._pulled(lacking, layered, target, trust)
            missing = [pin for pin in pins if entries[pin.name] is None]
            mismatches: tuple[RecordMismatch, ...] = ()
            local = [pin for pin in missing if _is_local(pin)]
            if len(local) < len(missing):
                fetched = self._fetched([pin for pin in missing if not _is_local(pin)], resolver, target)
                entries |= fetched.entries
                mismatches = fetched.mismatches
            if local:
                entries |= self._built(local, resolver, target)
                self.built = frozenset(entry for pin in local if (entry := entries[pin.name]))
            # A folder that is copied may change anywhere: it is built each time.
            is_known = all(is_editable(pin) for pin in local)
            self.fingerprint = remember_projects(self.lock.fingerprint, resolver.states) if is_known else ""
            self.shared_state.check()
            wanted = [self._wanted(pin, entry) for pin in pins if (entry := entries[pin.name])]
            known = read_set(self.store, wanted, self._target())

            def load() -> None:  # while the disk has the work
                import json  # noqa: F401, PLC0415 - for the root

                if known is None:
                    for one in wanted:
                        one.load()
                else:
                    import pickle  # noqa: F401, PLC0415 - for the workers, which are forked later

            environment, created = create_if_missing(self.destination, self.store.path, load)
            done = self._apply(environment, wanted, known if created else None, fresh=created)
            keep_reserve(self.store)
        return done._replace(created=created, fetched=len(missing), mismatches=mismatches)

    def _fetched(self, missing: list[Pin], resolver: PinResolver, target: Target) -> Fetched:
        """Fetch or build *missing*."""
        from pipm.lockfile.index_logins import with_index_logins  # noqa: PLC0415 - seldom needed
        from pipm.sync.fetch_wheels import fetch  # noqa: PLC0415 - takes 100 ms
        from pipm.sync.fetched_wheels import FetchRun  # noqa: PLC0415

        python, waits = self.destination.python, self.options.compiled and not self.options.compiled_later
        interpreter = ask_interpreter(python) if waits else None
        with self.store.run() as (run, run_path):
            fetching = FetchRun(resolver, python, target, run, run_path, self.shared_state, interpreter)
            known = with_index_logins(missing, os.path.dirname(self.lock.path), os.environ)
            return fetch(fetching, known, self.progress)

    def _built(self, pins: list[Pin], resolver: PinResolver, target: Target) -> dict[str, str]:
        """Build the folders of *pins*; return their entries by name."""
        from pipm.sync.build_environment import BuildEnvironments  # noqa: PLC0415 - likewise
        from pipm.sync.build_projects import build_projects  # noqa: PLC0415

        def make(path: str, pins: list[Pin], fingerprint: str) -> None:
            base = find_target(self.store.path, path, self.destination.python)
            lock = Lock(path=path, fingerprint=fingerprint, pins=lambda _: pins)
            FullSync(self.store, base, lock, SyncOptions(), self.progress, self.shared_state).run_all()

        stopping = lambda: self.shared_state.stopping  # noqa: E731 - asked anew each time
        environments = BuildEnvironments(self.store, self.destination.python, target, make, stopping)
        return build_projects(pins, resolver, environments, self.progress, self.shared_state)

    def _in_layers(self, pins: list[Pin], target: Target, trust: Trust) -> dict[str, tuple[Store, str]]:
        """Return for each of *pins*, by name, the first layer that has its entry, and the entry."""
        found: dict[str, tuple[Store, str]] = {}
        for layer in open_layers(self.store.path) if pins else ():
            resolver = PinResolver(layer, target, trust)
            for pin in pins:
                if pin.name not in found and (entry := resolver.find(pin)) is not None:
                    found[pin.name] = layer, entry
        return found

    def _pulled(
        self, pins: list[Pin], layered: dict[str, tuple[Store, str]], target: Target, trust: Trust
    ) -> dict[str, str | None]:
        """Take entries from layers (*layered*) and the remote into the store; return them by name.

        The finder serves those of a layer where they lie.
        """
        from pipm.share.copy_from_layer import pull_entry  # noqa: PLC0415 - needed only for missing entries
        from pipm.sync.remote_entries import pull_missing  # noqa: PLC0415 - likewise

        environment = self.destination.environment
        is_finder = self.options.link_mode is LinkMode.FINDER or (
            environment is not None and receipt_at(environment.path) is not None
        )
        found: dict[str, str | None] = {}
        with self.store.run() as (run, _):
            for name, (layer, entry) in layered.items():
                in_place = is_finder and not has_entry(self.store, entry) and is_served_in_place(layer, entry)
                found[name] = entry if in_place else pull_entry(self.store, run, layer, entry)
        lacking = [pin for pin in pins if pin.name not in found]
        interpreter = ask_interpreter(self.destination.python) if self.options.compiled else None
        pulled = pull_missing(
            self.store, lacking, target, trust, interpreter, self.progress, self.shared_state
        )
        return found | pulled

    def _wanted(self, pin: Pin, entry: str) -> Wanted:
        # With the finder a plan needs no modules.
        modules = self.options.link_mode is not LinkMode.FINDER
        load = cache(partial(load_install_plan, self.store, entry, modules=modules))
        for_uv = is_editable(pin) and self.lock.path.endswith("/uv.lock")
        note = uv_note(pin.origin.project) if for_uv and isinstance(pin.origin, SourceFolder) else None
        return Wanted(entry=entry, load=load, direct_url=direct_url(pin), uv_note=note)

    def _target(self) -> str:
        """Return what the files of a new environment depend on beside its entries; "" for other ones."""
        base = self.destination.base
        if base is None or self.options.link_mode is LinkMode.FINDER:
            return ""
        return f"{base.path} {base.version} {self.options.compiled}"

    def _apply(
        self, environment: Environment, wanted: list[Wanted], known: SeparateSet | None, *, fresh: bool
    ) -> SyncResult:
        scheme, interpreter = scheme_of(environment, compiled=self.options.compiled)
        with locked_environment(self.store, environment, self.progress) as root:
            had_no_dist_info = restore_metadata(self.store, root)
            previous = find_root(self.store, environment.path)
            doubted = previous.entries if previous is not None and previous.state == SYNCING else ()
            seen = self._seen(scheme, previous)
            scan = EnvironmentScan(self.store, root, environment, seen, interpreter, doubted=doubted)
            before = (
                NOTHING if fresh or had_no_dist_info else self._unchanged(environment, root, previous, seen)
            )
            no_dist_info = self.options.dist_info is False or (
                self.options.dist_info is None and had_no_dist_info
            )
            finder_sync = self._serving(
                environment, root, scan, wanted, no_dist_info=no_dist_info, fresh=fresh
            )
            if finder_sync is not None:
                wanted = finder_sync.finder_plan.wanted
            if finder_sync is not None or (known is not None and known.scheme != scheme_key(scheme)):
                known = None
            target = "" if finder_sync is not None else self._target()
            note = ChangeNote(scan, wanted, before, known, target)
            if before.groups:
                groups = groups_of(root, seen, note.paths(seen))
                # What was built just now may have other scripts than before.
                scan.untouched = before.named_in(groups) - self.built
            applier = PlanApplier(
                store=self.store,
                environment=environment,
                root=root,
                scheme=scheme,
                interpreter=interpreter,
                shared_state=self.shared_state,
                progress=self.progress,
                lock=self.lock,
                fingerprint=self.fingerprint,
                link_mode=self.options.link_mode,
                clobber=self.options.clobber,
                later=self.options.compiled_later,
                apart=None if known is None else SeparatePlans(wanted, known.costs, scheme),
                finder_sync=finder_sync,
            )
            is_noted = not no_dist_info and (fresh or before.groups)
            done = applier.apply(
                scan,
                wanted,
                idle=lambda: note.paths(scan.scheme) if is_noted else None,
                meanwhile=lambda done: note.write(done) if is_noted else None,
            )
        return _result(environment, done)

    def _seen(self, scheme: Scheme, previous: Root | None) -> Scheme:
        """Return the scheme for comparisons: without bytecode if that is still pending."""
        pending = previous is not None and previous.pending and self.options.compiled_later
        return scheme.without_bytecode() if pending else scheme

    def _unchanged(
        self, environment: Environment, root: int, previous: Root | None, scheme: Scheme
    ) -> SeenTimes:
        """Return the times of groups that did not change since the last sync."""
        if previous is None or previous.state != SYNCED:
            return NOTHING
        return ChangeCache(environment, root, previous, scheme).unchanged()

    def _row(self, environment: Environment) -> LockRow:
        """Return the lock's row in the finder's table, by which a start of Python detects a changed lock."""
        lock = self.lock
        if lock.stamp is None:
            return ()
        remedy = shlex.join(["pipm", "sync", lock.path, "--env", environment.path, *lock.words])
        return (lock.path, *lock.stamp, remedy)

    def _serving(
        self,
        environment: Environment,
        root: int,
        scan: EnvironmentScan,
        wanted: list[Wanted],
        *,
        no_dist_info: bool,
        fresh: bool,
    ) -> FinderSync | None:
        """Return the sync of the finder, with compiled bytecode in the store; None if files are linked.

        Raises UsageError for ``--no-dist-info`` without the finder.
        """
        mode, progress = self.options.link_mode, self.progress
        if not wants_finder(self.store, environment, root, scan, wanted, mode, progress):
            if no_dist_info:
                raise UsageError(
                    f"{environment.path} does not have the finder, without which no program could see"
                    " its distributions",
                    hint="add --link-mode finder, or leave --no-dist-info out",
                )
            return None
        from pipm.sync.finder_sync import FinderSync, plan_finder  # noqa: PLC0415 - needed only for the finder

        finder_plan = plan_finder(self.store, environment, root, scan, wanted)
        row = self._row(environment)
        finder_sync = FinderSync(
            self.store, environment, root, finder_plan, row, no_dist_info=no_dist_info, fresh=fresh
        )
        if self.options.compiled:
            finder_sync.compile(self.shared_state, progress, later=self.options.compiled_later)
        return finder_sync

    def _preview(self, pins: list[Pin], entries: dict[str, str | None]) -> SyncResult:
        """Return what a sync would do; missing wheels are compared only by their versions."""
        missing = {pin.name: pin.version or "?" for pin in pins if entries.get(pin.name) is None}
        wanted = [self._wanted(pin, entry) for pin in pins if (entry := entries.get(pin.name))]
        environment = self.destination.environment
        if environment is None:
            added = names_and_versions(wanted) + tuple(missing.items())
            return SyncResult(
                path=self.destination.path, link_mode="", created=True, added=added, fetched=len(missing)
            )
        scheme, interpreter = scheme_of(environment, compiled=self.options.compiled)
        with locked_environment(self.store, environment, self.progress) as root:
            no_dist_info = stored_metadata_entries(root)
            receipt = read_receipt(root)
            served = set() if receipt is None else {row.entry for row in receipt.served.values()}
            wanted_all, wanted = (
                wanted,
                [
                    one._replace(load=at_hand(without_modules(one.install_plan)))
                    if one.entry in served
                    else one
                    for one in wanted
                    if one.entry not in no_dist_info
                ],
            )
            previous = find_root(self.store, environment.path)
            scan = EnvironmentScan(self.store, root, environment, self._seen(scheme, previous), interpreter)
            plan = plan_changes(scan, wanted, scheme, previous, clobber=self.options.clobber)[1]
        gone = {one.name: one.version for one in plan.removed}
        asked = {one.entry for one in wanted_all}
        gone |= {entry.split("/")[0]: entry.split("/")[1] for entry in no_dist_info if entry not in asked}
        return SyncResult(
            path=environment.path,
            link_mode="",
            added=names_and_versions(plan.added)
            + tuple(row for row in missing.items() if row[0] not in gone),
            replaced=(
                *((old.name, old.version, new.version) for old, new in plan.replaced),
                *((name, gone[name], version) for name, version in missing.items() if name in gone),
            ),
            repaired=names_and_versions(plan.repaired),
            removed=tuple(row for row in gone.items() if row[0] not in missing),
            stuck=tuple((one.name, one.version) for one in plan.stuck),
            unchanged=plan.unchanged + len(wanted_all) - len(wanted),
            fetched=len(missing),
        )


def _result(environment: Environment, done: AppliedPlan) -> SyncResult:
    """Return the result of a sync."""
    return SyncResult(
        path=environment.path,
        link_mode=done.root.link_mode,
        added=names_and_versions(done.plan.added),
        replaced=tuple((old.name, old.version, new.version) for old, new in done.plan.replaced),
        repaired=names_and_versions(done.plan.repaired),
        removed=tuple((one.name, one.version) for one in done.plan.removed),
        stuck=tuple((one.name, one.version) for one in done.plan.stuck),
        unchanged=done.plan.unchanged,
        files=0 if done.made is None else done.made.files,
        copied=0 if done.made is None else done.made.copied,
        pending=done.root.pending,
        collisions=tuple(collision.path for collision in done.collisions),
    )


def _is_local(pin: Pin) -> bool:
    """Return True if *pin* is a folder, which is built and not fetched."""
    return isinstance(pin.origin, SourceFolder)
