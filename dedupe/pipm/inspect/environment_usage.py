"""`pipm list` and `pipm df`: measuring environments and the store."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipm.context.liveness import environment_fate, still_shares
from pipm.context.progress import Progress
from pipm.core.disk_usage import DiskUsage
from pipm.core.plan.gc_plan import Fate, Limits
from pipm.env.environment import load_environment
from pipm.env.find_environments import find_environments
from pipm.env.installed import stored_metadata_folders
from pipm.env.places import kind_of, lost_interpreter
from pipm.errors import NotAnEnvironmentError
from pipm.finder.finder_usage import missing_store, served_inodes
from pipm.fs.measure import measure_tree
from pipm.gc.collect import preview_collection
from pipm.inspect.usage_cache import Figures, open_usage_cache, stamp_of
from pipm.inspect.why import is_release_of, parse_requirement
from pipm.store.configuration import words
from pipm.store.inventory import store_inventory
from pipm.store.layout import open_store, reserved_bytes
from pipm.store.paths import environment_path, named_environments_folder
from pipm.store.roots import SYNCED, SYNCING, all_roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement

    from pipm.env.environment import Environment
    from pipm.env.find_environments import Passed
    from pipm.store.inventory import StoreInventory
    from pipm.store.layout import Store
    from pipm.store.roots import Root

_METADATA = (".dist-info", ".egg-info")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentUsage:
    """An environment and its bytes.

    ``state`` is adopted, synced, own copy, broken (no interpreter, no store) or missing; ``note`` says
    more. ``last_used`` is in seconds since the epoch: when its ``pyvenv.cfg`` was last read, as each start
    of its Python does (to the day, with relatime). ``measured`` is the time of the measurement.
    ``adoptable`` are bytes that adopting it would free, negative for the first of its kind; None if nobody
    asked, or if it is adopted.
    """

    path: str
    kind: str
    python: str
    link_mode: str
    distributions: int
    usage: DiskUsage
    state: str
    last_used: float
    measured: float
    note: str = ""
    entries: tuple[str, ...] = ()
    adoptable: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUsage:
    """The store's bytes; ``reclaimable`` is what `pipm gc` would free, some of it ``estimated``.

    With ``waits`` that stays in the store's trash for a day first.
    """

    path: str
    usage: DiskUsage
    reclaimable: int
    estimated: int
    entries: int
    active: int
    objects: int
    waits: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionUsage:
    """All entries of one distribution, with bytecode.

    ``on_disk`` counts bytes once that its versions share; other distributions have ``shared`` of them, too.
    ``environments`` use it.
    """

    name: str
    versions: tuple[str, ...]
    on_disk: int
    shared: int
    environments: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Store, environments, and the bytes that sharing saves: the sum without sharing minus the real sum.

    ``estimated`` of these bytes are known within a tenth. ``outside`` are bytes that environments share only
    with other files: another tool's cache, each other. No environment uses ``unused`` bytes of the store.
    ``fresh`` environments were measured now; ``oldest`` is the time of the oldest other measurement.
    """

    store: StoreUsage | None
    environments: tuple[EnvironmentUsage, ...]
    saved: int
    estimated: int = 0
    outside: int = 0
    unused: int = 0
    fresh: int = 0
    oldest: float = 0.0
    distributions: tuple[DistributionUsage, ...] = ()

    @property
    def of_environments(self) -> DiskUsage:
        """Return the usage of all environments without the store."""
        total = sum((one.usage for one in self.environments), DiskUsage())
        return replace(total, exclusive=total.exclusive + self.outside)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Environments, with figures for those that the store knows."""

    environments: list[EnvironmentUsage]
    figures: dict[str, Figures]
    now: float

    @property
    def fresh(self) -> int:
        return sum(figures.when >= self.now for figures in self.figures.values())

    @property
    def oldest(self) -> float:
        return min((figures.when for figures in self.figures.values()), default=self.now)


def list_environments(
    store_path: str,
    folder: str | None = None,
    *,
    exclude: Sequence[str] = (),
    uses: str | None = None,
    passed: list[Passed] | None = None,
    exact: bool = False,
    progress: Progress | None = None,
) -> list[EnvironmentUsage]:
    """Measure the environments that the store knows and the named ones or, with *folder*, all below it.

    Skip folders that *exclude* or the setting of that name matches, and environments without a distribution
    of the requirement *uses*. *exact* ignores earlier figures. *passed* gets the places that are not handled.
    """
    store = open_store(store_path, create=False)
    inventory = None if store is None else store_inventory(store)
    roots = {} if store is None else {root.path: root for root in all_roots(store)}
    named = find_environments(named_environments_folder(), leave_out=store_path)
    paths = {*_without_old_places(roots), *named}
    if folder is not None:
        paths = {*_below(folder, store_path, exclude, passed)}
    if uses is not None:
        wanted = parse_requirement(uses)
        paths = {p for p in paths if _has(p, roots[p].entries if p in roots else (), wanted)}
    return _measure(store, store_path, inventory, paths, progress or Progress(), exact=exact).environments


def disk_report(
    store_path: str, *, exact: bool = False, by_distribution: bool = False, progress: Progress | None = None
) -> Report:
    """Measure the store and the environments that it knows."""
    store = open_store(store_path, create=False)
    if store is None:
        return Report(store=None, environments=(), saved=0)
    inventory = store_inventory(store)
    measured = _measure(store, store_path, inventory, None, progress or Progress(), exact=exact)
    shared = (figures.outside for figures in measured.figures.values())
    outside = sum({place: size for one in shared for place, size in one.items()}.values())
    environments = measured.environments
    living = {entry for one in environments if one.state != "missing" for entry in one.entries}
    of_store = _store_usage(store, inventory, living)
    unused = inventory.bytes_without(living)
    together = sum(one.usage.exclusive for one in environments) + outside
    # The reserve, and files that no environment uses, share nothing.
    together += of_store.usage.on_disk - reserved_bytes(store) - unused
    return Report(
        store=of_store,
        environments=tuple(environments),
        saved=max(sum(one.usage.on_disk for one in environments) - together, 0),
        estimated=of_store.usage.estimated + sum(one.usage.estimated for one in environments),
        outside=outside,
        unused=unused,
        fresh=measured.fresh,
        oldest=measured.oldest,
        distributions=_by_distribution(inventory, environments) if by_distribution else (),
    )


def _below(folder: str, store: str, exclude: Sequence[str], passed: list[Passed] | None) -> Iterable[str]:
    folder = environment_path(folder)
    if not os.path.isdir(folder):
        raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
    exclude = [*exclude, *words("exclude")]
    return find_environments(os.path.realpath(folder), leave_out=store, exclude=exclude, passed=passed)


def _measure(
    store: Store | None,
    store_path: str,
    inventory: StoreInventory | None,
    paths: Iterable[str] | None,
    progress: Progress,
    *,
    exact: bool,
) -> _Measured:
    roots = {root.path: root for root in all_roots(store)} if store is not None else {}
    chosen = sorted(_without_old_places(roots) if paths is None else paths)
    usage_cache = open_usage_cache(store_path)
    known = {
        path: entry
        for path in chosen
        if not exact and (entry := usage_cache.known(path, roots.get(path))) is not None
    }
    due = usage_cache.due(known)
    found = []
    kept: dict[str, Figures] = {}
    moved = {(root.device, root.inode): root for root in roots.values() if not os.path.lexists(root.path)}
    progress.phase("Measuring environments", len(chosen))
    for number, path in enumerate(chosen):
        progress.advance(number, 0)
        root = roots.get(path)
        if path in known and path not in due:
            figures, stamp = known[path]
        else:
            try:
                environment = load_environment(path)
                root = root or moved.get((environment.device, environment.inode))
                fresh = stamp_of(path, environment.sites, roots.get(path))
                if fresh is None:  # it was just deleted
                    continue
                stamp = fresh
                figures = _figures(environment, root, inventory, stamp.text, usage_cache.now)
            except NotAnEnvironmentError as error:
                found.append(_missing(path, root, error, store_path))
                continue
            except OSError as error:  # another process changes it, or this user cannot read it
                reason = NotAnEnvironmentError(f"cannot be measured: {error.strerror}")
                found.append(_missing(path, root, reason, store_path))
                continue
            usage_cache.note(path, figures)
        kept[path] = figures
        found.append(_usage(path, root, figures, stamp.used, store_path))
    usage_cache.save(chosen)
    return _Measured(found, {path: kept[path] for path in kept if path in roots}, usage_cache.now)


def _without_old_places(roots: Mapping[str, Root]) -> list[str]:
    """Return the paths of *roots* but for those from which an environment moved to another of them."""
    there = {path for path in roots if os.path.lexists(path)}
    living = {(roots[path].device, roots[path].inode) for path in there}
    return [path for path, root in roots.items() if path in there or (root.device, root.inode) not in living]


def _figures(
    environment: Environment, root: Root | None, inventory: StoreInventory | None, stamp: str, now: float
) -> Figures:
    stock = None if inventory is None else inventory.stock
    whole = environment.path if environment.is_prefix else f"{environment.path}/{environment.site}"
    measured_tree = measure_tree(whole, stock, served_inodes(environment.path, inventory))
    # Who else shares a file matters only for environments that the store knows.
    outside = {} if root is None else measured_tree.outside
    return Figures(
        stamp=stamp,
        sites=environment.sites,
        when=now,
        python=environment.python,
        distributions=len(_metadata_folders(environment)),
        usage=measured_tree.usage,
        stored=measured_tree.stored,
        outside={" ".join(map(str, key)): size for key, size in outside.items()},
    )


def _usage(path: str, root: Root | None, figures: Figures, used: float, store_path: str) -> EnvironmentUsage:
    inode = int(figures.stamp.split(" ")[1])
    note = ""
    state = "own copy" if root is None else "adopted"
    if root is not None:
        if root.path != path:
            note = f"moved from {root.path}; `pipm adopt {path}` makes the new place known"
        elif root.inode != inode and not still_shares(root, store_path):
            state, note = (
                "own copy",
                "it was created again, or is a copy: not the environment that was adopted here",
            )
        if state == "adopted" and root.state in (SYNCING, SYNCED):
            state = "synced"
    kind = kind_of(path)
    if lost := lost_interpreter(path):
        state, note = "broken", lost
    elif gone := missing_store(path, figures.sites):
        state, note = "broken", f"it reads files of the store {gone}, which is gone or was moved"
    return EnvironmentUsage(
        path=path,
        kind=kind,
        python=figures.python,
        link_mode="" if root is None else root.link_mode,
        distributions=figures.distributions,
        usage=figures.usage,
        state=state,
        last_used=used,
        measured=figures.when,
        note=note,
        entries=() if root is None else root.entries,
    )


def _missing(path: str, root: Root | None, error: NotAnEnvironmentError, store_path: str) -> EnvironmentUsage:
    if os.path.lexists(path):
        note = error.message
    elif root is None or environment_fate(root, store_path, os.stat(store_path).st_dev)[0] is Fate.GONE:
        note = "deleted or moved; `pipm gc --missing` removes what only such environments needed"
    else:
        note = "its disk may not be mounted; the store keeps its packages"
    return EnvironmentUsage(
        path=path,
        kind=kind_of(path) if os.path.lexists(path) else "",
        python="" if root is None else root.python,
        link_mode="" if root is None else root.link_mode,
        distributions=0,
        usage=DiskUsage(),
        state="missing",
        last_used=0.0 if root is None else root.seen,
        measured=0.0,
        note=note,
        entries=() if root is None else root.entries,
    )


def _has(path: str, entries: Iterable[str], wanted: Requirement) -> bool:
    """Return whether an environment has a distribution of *wanted*; *entries* tell for a missing one."""
    try:
        folders = _metadata_folders(load_environment(path))
    except (NotAnEnvironmentError, OSError):
        folders = ["-".join(entry.split("/")[:2]) for entry in entries]
    releases = (folder.removesuffix(".dist-info").removesuffix(".egg-info").split("-") for folder in folders)
    return any(len(release) > 1 and is_release_of(wanted, release[0], release[1]) for release in releases)


def _metadata_folders(environment: Environment) -> list[str]:
    names = [name for site in environment.sites for name in os.listdir(f"{environment.path}/{site}")]
    return [name for name in names if name.endswith(_METADATA)] + list(
        stored_metadata_folders(environment.path, names)
    )


def _store_usage(store: Store, inventory: StoreInventory, living: set[str]) -> StoreUsage:
    garbage = preview_collection(store, Limits(missing=True, trash=False))
    return StoreUsage(
        path=store.path,
        usage=inventory.listed.usage,
        reclaimable=garbage.bytes_freed,
        estimated=garbage.bytes_estimated,
        entries=len(inventory.entries),
        active=len(living.intersection(inventory.entries)),
        objects=len(inventory.objects),
        waits=any(root.borrows for root in all_roots(store)),
    )


def _by_distribution(
    inventory: StoreInventory, environments: list[EnvironmentUsage]
) -> tuple[DistributionUsage, ...]:
    users: dict[str, int] = {}
    for one in environments:
        for name in {entry.partition("/")[0] for entry in one.entries}:
            users[name] = users.get(name, 0) + 1
    counts: dict[int, int] = {}
    inodes: dict[str, set[int]] = {}
    versions: dict[str, dict[str, None]] = {}
    for entry in sorted(inventory.entries):
        name, version, _ = entry.split("/")
        own = inventory.with_bytecode(inventory.entries[entry])
        inodes.setdefault(name, set()).update(own)
        versions.setdefault(name, {})[version] = None
        for inode in own:
            counts[inode] = counts.get(inode, 0) + 1
    return tuple(
        DistributionUsage(
            name=name,
            versions=tuple(versions[name]),
            on_disk=inventory.bytes_of(own),
            shared=inventory.bytes_of(inode for inode in own if counts[inode] > 1),
            environments=users.get(name, 0),
        )
        for name, own in inodes.items()
    )
