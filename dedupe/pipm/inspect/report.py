"""The data of `pipm report`: that of df and list, and the distributions of each environment."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.context.progress import Progress
from pipm.core.plan.gc_plan import Limits
from pipm.env.environment import load_environment
from pipm.env.installed import installed_distributions
from pipm.errors import NotAnEnvironmentError
from pipm.fs.opened import opened_folder
from pipm.gc.collect import preview_collection
from pipm.inspect.adoption_estimate import with_estimates
from pipm.inspect.environment_usage import disk_report, list_environments
from pipm.store.inventory import store_inventory
from pipm.store.layout import open_store
from pipm.store.paths import environment_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.inspect.environment_usage import EnvironmentUsage, Report

_BLOCK = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEntry:
    """An entry with its bytecode, in bytes on disk; if ``condemned``, `pipm gc` removes it now.

    ``elsewhere`` is the number of environments that use it and are not in the report.
    """

    name: str
    version: str
    entry: str
    on_disk: int
    condemned: bool
    elsewhere: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """An environment; ``parts`` are the distributions of its own copy, with estimated bytes."""

    usage: EnvironmentUsage
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FullReport:
    """The data of a report; ``folder`` is the searched folder, or empty.

    With a folder it has only the entries that the environments there use.
    """

    report: Report
    entries: tuple[StoredEntry, ...]
    environments: tuple[Mapped, ...]
    folder: str


def full_report(
    store_path: str, folder: str | None, exclude: Sequence[str] = (), *, exact: bool
) -> FullReport:
    """Measure the store and the environments that it knows or, with *folder*, all below that."""
    report = disk_report(store_path, exact=exact)
    environments = report.environments
    if folder is not None:
        found = list_environments(store_path, folder, exclude=exclude, exact=exact)
        environments = tuple(with_estimates(store_path, found, Progress()))
    shown = {one.path for one in environments}
    elsewhere = Counter(
        entry for one in report.environments if one.path not in shown for entry in one.entries
    )
    used = None if folder is None else {entry for one in environments for entry in one.entries}
    return FullReport(
        report=report,
        entries=tuple(one for one in _entries(store_path, elsewhere) if used is None or one.entry in used),
        environments=tuple(Mapped(usage=one, parts=_parts(one)) for one in environments),
        folder="" if folder is None else os.path.realpath(environment_path(folder)),
    )


def _entries(store_path: str, elsewhere: Counter[str]) -> tuple[StoredEntry, ...]:
    store = open_store(store_path, create=False)
    if store is None:
        return ()
    inventory = store_inventory(store)
    condemned = set(preview_collection(store, Limits()).entries_removed)
    return tuple(
        StoredEntry(
            name=entry.split("/")[0],
            version=entry.split("/")[1],
            entry=entry,
            on_disk=inventory.bytes_of(inventory.with_bytecode(inventory.entries[entry])),
            condemned=entry in condemned,
            elsewhere=elsewhere[entry],
        )
        for entry in sorted(inventory.entries)
    )


def _parts(one: EnvironmentUsage) -> tuple[tuple[str, int], ...]:
    """Return the distributions of an environment that is not adopted, with sizes from RECORD."""
    if one.state != "own copy":
        return ()
    try:
        environment = load_environment(one.path)
        with opened_folder(environment.path) as root:
            distributions = installed_distributions(environment, root)
    except (OSError, NotAnEnvironmentError):  # missing, or changing right now
        return ()
    return tuple(
        (f"{each.name} {each.version}", sum(-(-(row.size or 0) // _BLOCK) * _BLOCK for row in each.rows))
        for each in distributions
    )
