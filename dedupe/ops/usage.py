"""`pipm list` and `pipm df`: where the bytes are, and what deleting would give back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.core.usage import DiskUsage
from dedupe.env.discover import find_environments
from dedupe.env.environment import load_environment
from dedupe.errors import NotAnEnvironmentError
from dedupe.fs.usage import Blocks, measure
from dedupe.fs.walk import inode_counts
from dedupe.store.layout import Store, open_store, reserved_bytes
from dedupe.store.roots import all_roots
from dedupe.store.wheels import all_entries, load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dedupe.env.environment import Environment
    from dedupe.store.roots import Root

_METADATA = (".dist-info", ".egg-info")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentUsage:
    """An environment and its bytes; ``state`` is adopted, own copy or missing.

    ``last_used`` is in seconds since the epoch: when its ``pyvenv.cfg`` was last read, as each start of
    its Python does (to the day, with relatime).
    """

    path: str
    python: str
    link_mode: str
    distributions: int
    usage: DiskUsage
    state: str
    last_used: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUsage:
    """The store's bytes; ``reclaimable`` is what nothing uses."""

    path: str
    usage: DiskUsage
    reclaimable: int
    entries: int
    active: int
    objects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Store, environments, and the bytes that sharing saves: their sum alone less what they take together."""

    store: StoreUsage | None
    environments: tuple[EnvironmentUsage, ...]
    saved: int


def list_environments(store_path: str, folder: str | None) -> list[EnvironmentUsage]:
    """Measure the environments that the store knows and, with *folder*, all below it."""
    return [usage for usage, _ in _environments(open_store(store_path, create=False), store_path, folder)]


def disk_report(store_path: str) -> Report:
    """Measure the store and the environments that it knows."""
    store = open_store(store_path, create=False)
    if store is None:
        return Report(store=None, environments=(), saved=0)
    measured = _environments(store, store_path, None)
    together = Blocks()
    for _, blocks in measured:
        together.add(blocks)
    of_store, blocks = _measure_store(store, together)
    together.add(blocks)
    alone = sum(blocks.total for _, blocks in measured)
    return Report(
        store=of_store,
        environments=tuple(usage for usage, _ in measured),
        saved=max(alone - (together.total - reserved_bytes(store)), 0),  # the reserve shares nothing
    )


def _environments(
    store: Store | None, store_path: str, folder: str | None
) -> list[tuple[EnvironmentUsage, Blocks]]:
    roots = {root.path: root for root in all_roots(store)} if store is not None else {}
    paths: Iterable[str] = roots
    if folder is not None:
        if not os.path.isdir(folder):
            raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
        paths = find_environments(os.path.realpath(folder), leave_out=store_path)
    return [_measured(path, roots.get(path)) for path in sorted(paths)]


def _measured(path: str, root: Root | None) -> tuple[EnvironmentUsage, Blocks]:
    try:
        environment = load_environment(path)
    except NotAnEnvironmentError:
        missing = EnvironmentUsage(
            path=path,
            python="" if root is None else root.python,
            link_mode="" if root is None else root.link_mode,
            distributions=0,
            usage=DiskUsage(),
            state="missing",
            last_used=0.0 if root is None else root.seen,
        )
        return missing, Blocks()
    usage, blocks = measure(environment.path)
    return EnvironmentUsage(
        path=environment.path,
        python=environment.python,
        link_mode="" if root is None else root.link_mode,
        distributions=_count(environment),
        usage=usage,
        state="own copy" if root is None else "adopted",
        last_used=os.stat(f"{environment.path}/pyvenv.cfg").st_atime,
    ), blocks


def _count(environment: Environment) -> int:
    names = (name for site in environment.sites for name in os.listdir(f"{environment.path}/{site}"))
    return sum(name.endswith(_METADATA) for name in names)


def _measure_store(store: Store, used: Blocks) -> tuple[StoreUsage, Blocks]:
    """Measure the store; *used* is what the living environments occupy."""
    measured = measure(f"{store.path}/v1")
    living = {entry for root in all_roots(store) if os.path.exists(root.path) for entry in root.entries}
    entries = list(all_entries(store))
    kept = _inodes_of_entries(store, living)
    links = inode_counts(f"{store.path}/v1")
    objects = reclaimable = 0
    for folder, prefix in (("objects", True), ("bytecode", False)):
        for directory, name in _files(f"{store.path}/v1/{folder}"):
            objects += prefix
            status = os.lstat(f"{directory}/{name}")
            if status.st_ino in kept or status.st_nlink > links[status.st_ino]:
                continue
            if (status.st_dev, status.st_ino) not in used.inodes:
                reclaimable += measured.blocks.inodes.get((status.st_dev, status.st_ino), 0)
    return StoreUsage(
        path=store.path,
        usage=measured.usage,
        reclaimable=reclaimable,
        entries=len(entries),
        active=len(living.intersection(entries)),
        objects=objects,
    ), measured.blocks


def _inodes_of_entries(store: Store, entries: set[str]) -> set[int]:
    inodes: set[int] = set()
    for entry in entries:
        inodes.update(inode_counts(f"{store.path}/v1/wheels/{entry}"))
    return inodes


def _files(path: str) -> Iterable[tuple[str, str]]:
    for directory, _, names in os.walk(path):
        for name in names:
            yield directory, name


def store_entries(store_path: str, name: str | None) -> list[tuple[str, int, int]]:
    """List the store's entries as (path below ``wheels/``, files, bytes), all or of one distribution."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - only where a name is given

    store = open_store(store_path, create=False)
    if store is None:
        return []
    wanted = None if name is None else f"{canonicalize_name(name)}/"
    found = []
    for entry in all_entries(store):
        if wanted is None or entry.startswith(wanted):
            files = load_manifest(store, entry).files
            found.append((entry, len(files), sum(file.size for file in files)))
    return found
