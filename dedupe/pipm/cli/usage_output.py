"""The output of `list`, `df` and `store ls`: columns without borders."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pipm.cli.format_text import age_text, count_text, counted, missing_store_text, path_text
from pipm.cli.not_handled_output import not_handled_rows, print_not_handled
from pipm.cli.terminal_progress import progress_for
from pipm.core.disk_usage import is_rough
from pipm.core.size_text import size_text
from pipm.env.places import VENV
from pipm.errors import UsageError
from pipm.inspect.adoption_estimate import with_estimates
from pipm.inspect.environment_usage import EnvironmentUsage, disk_report, list_environments
from pipm.inspect.not_handled import not_handled
from pipm.inspect.store_listing import store_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.cli.output import Output
    from pipm.core.disk_usage import DiskUsage
    from pipm.env.find_environments import Passed
    from pipm.inspect.environment_usage import DistributionUsage, Report, StoreUsage

SORTS: dict[str, Callable[[EnvironmentUsage], object]] = {
    "path": lambda one: one.path,
    "exclusive": lambda one: -one.usage.exclusive,
    "size": lambda one: -one.usage.on_disk,
    "used": lambda one: -one.last_used,
    "frees": lambda one: -(one.adoptable or 0),
}
_SORTED_BY = {"size": "ON DISK", "used": "USED"}
_SPARE = ("PYTHON", "DISTS", "APPARENT", "KIND", "USED", "ON DISK", "STATE")
"""The columns that a narrow terminal leaves out, the first of them first."""
_MOST_NOTES = 10
_ABOUT = "~ within a tenth: this file system keeps names, inodes and small files in trees"


class Choice(NamedTuple):
    """Which environments `pipm list` shows: unused for so many seconds, with a distribution, broken ones."""

    unused: float | None = None
    uses: str | None = None
    broken: bool = False

    def takes(self, one: EnvironmentUsage, now: float) -> bool:
        """Return whether *usage* is one of them; `list_environments` checks ``uses``."""
        if self.broken and one.state not in ("broken", "missing"):
            return False
        return self.unused is None or (one.last_used > 0 and now - one.last_used >= self.unused)


def show_list(
    output: Output,
    store: str,
    folder: str | None,
    *,
    exclude: Sequence[str],
    sort: str,
    chosen: Choice,
    exact: bool,
) -> int:
    """Run `pipm list` for the *chosen* environments."""
    if sort not in SORTS:
        raise UsageError(f"Cannot sort by {sort!r}", hint=f"choose one of {', '.join(SORTS)}")
    now = time.time()
    passed: list[Passed] = []
    progress = progress_for(output)
    try:
        every = list_environments(
            store, folder, exclude=exclude, uses=chosen.uses, passed=passed, exact=exact, progress=progress
        )
        if folder is not None:
            every = with_estimates(store, every, progress)
    finally:
        progress.done()
    rest = not_handled(passed, [] if folder is None else [one.path for one in every])
    found = [one for one in every if chosen.takes(one, now)]
    found.sort(key=SORTS[sort])  # type: ignore[arg-type]
    if output.json:
        rows = [environment_document(one) for one in found]
        output.document("list", {"environments": rows, "not_handled": not_handled_rows(rest)})
        return 0
    if output.quiet:
        for one in found:
            output.data(one.path)
        return 0
    if every and not found:
        output.result(f"None of {counted(len(every), 'environment')} matches")
        return 0
    if not found:
        output.result("No environments")
        if folder is None and (missing := missing_store_text(store)):
            output.note("note", missing)
        output.note("hint", "`pipm list DIR` looks for those below a folder, `pipm adopt ENV` adds one")
        return 0
    output.table(_environment_rows(found, now), [head for head in _SPARE if head != _SORTED_BY.get(sort)])
    _print_notes(output, found)
    if any(one.usage.about for one in found):
        output.note("note", _ABOUT)
    _print_adoptable(output, found, folder)
    print_not_handled(output, rest)
    _print_age(output, min((one.measured for one in found if one.measured), default=now), now)
    return 0


def _environment_rows(found: list[EnvironmentUsage], now: float) -> list[tuple[str, ...]]:
    estimated = any(one.adoptable is not None for one in found)
    head = (
        "<ENVIRONMENT",
        "<KIND",
        "<PYTHON",
        ">DISTS",
        ">APPARENT",
        ">ON DISK",
        ">EXCLUSIVE",
        "<STATE",
        "<USED",
    )
    rows: list[tuple[str, ...]] = [(*head, "<ADOPTING FREES") if estimated else head]
    for one in found:
        row = (
            path_text(one.path),
            one.kind or "-",
            one.python,
            count_text(one.distributions),
            size_text(one.usage.apparent),
            size_text(one.usage.on_disk),
            exclusive_text(one.usage),
            one.state + ("*" if one.note else ""),
            age_text(now - one.last_used) if one.last_used else "-",
        )
        about = "" if one.adoptable is None else f"about {size_text(max(one.adoptable, 0))}"
        rows.append((*row, about) if estimated else row)
    return rows


def _print_notes(output: Output, found: list[EnvironmentUsage]) -> None:
    noted = [one for one in found if one.note]
    shown = noted if output.verbose else noted[:_MOST_NOTES]
    for one in shown:
        output.note("note", f"{path_text(one.path)}: {one.note}")
    if len(noted) > len(shown):
        output.note("note", f"{len(noted) - len(shown)} more with a * (`--verbose`)")


def exclusive_text(usage: DiskUsage) -> str:
    """Return the bytes that deleting frees; ``~`` marks an estimate (within a tenth)."""
    return f"{'~' if usage.about else ''}{size_text(usage.exclusive)}"


def _print_adoptable(output: Output, found: list[EnvironmentUsage], folder: str | None) -> None:
    own = [one for one in found if one.adoptable is not None]
    total = max(sum(one.adoptable or 0 for one in own), 0)
    if own and folder is not None:
        frees = f", which frees about {size_text(total)}" if total else ""
        output.note(
            "hint",
            f"{counted(len(own), 'environment')} to adopt{frees}: pipm adopt --all {path_text(folder)}",
        )


def _print_age(output: Output, oldest: float, now: float) -> None:
    if oldest < now - 60:
        output.note(
            "note",
            f"the oldest figures of unchanged environments: {age_text(now - oldest)}; `--exact` measures all",
        )


def show_df(output: Output, store: str, *, exact: bool) -> int:
    """Run `pipm df`."""
    progress = progress_for(output)
    try:
        report = disk_report(store, exact=exact, by_distribution=output.verbose, progress=progress)
    finally:
        progress.done()
    if output.json:
        output.document("df", report_document(report, store))
        return 0
    if report.store is None:
        output.result(f"There is no store at {path_text(store)}")
        output.note("hint", "`pipm adopt ENV` makes it; if it was moved: --store DIR")
        return 0
    output.table(_total_rows(report, report.store))
    kinds = Counter(one.kind for one in report.environments if one.kind)
    if set(kinds) - {VENV}:
        output.result(f"Environments: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    _print_sum(output, report, report.store)
    if output.verbose:
        output.result(f"Store: {path_text(report.store.path)}, {counted(report.store.objects, 'object')}\n")
        output.table(_distribution_rows(report.distributions))
    _print_age(output, report.oldest, time.time())
    return 0


def _total_rows(report: Report, of_store: StoreUsage) -> list[tuple[str, ...]]:
    total = report.of_environments
    whole = total + of_store.usage
    present = sum(one.state != "missing" for one in report.environments)
    about = "~" if is_rough(of_store.estimated, of_store.reclaimable) else ""
    reclaimable = f"{about}{size_text(of_store.reclaimable)}"
    return [
        ("<", ">COUNT", ">ACTIVE", ">APPARENT", ">ON DISK", ">RECLAIMABLE"),
        (
            "Environments",
            count_text(len(report.environments)),
            count_text(present),
            size_text(total.apparent),
            exclusive_text(total),
            "-",
        ),
        (
            "Distributions",
            count_text(of_store.entries),
            count_text(of_store.active),
            size_text(of_store.usage.apparent),
            exclusive_text(of_store.usage),
            reclaimable,
        ),
        ("Total", "", "", size_text(whole.apparent), exclusive_text(whole), reclaimable),
    ]


def _print_sum(output: Output, report: Report, of_store: StoreUsage) -> None:
    about = "about " if is_rough(of_store.estimated, of_store.reclaimable) else ""
    missing = [one for one in report.environments if one.state == "missing"]
    command = "pipm gc --missing" if missing else "pipm gc"
    later = " (after a day in the trash, or with `--keep 0`)" if of_store.waits else ""
    frees = f"; `{command}` frees {about}{size_text(of_store.reclaimable)}{later}"
    more = frees if of_store.reclaimable else ""
    saved = f"{'about ' if is_rough(report.estimated, report.saved) else ''}{size_text(report.saved)}"
    if not report.saved:
        saved = "nothing yet: no two environments have enough files in common"
    output.result(f"Sharing saves {saved}{more}")
    if not missing and report.unused > of_store.reclaimable:
        unused = size_text(report.unused)
        output.note("hint", f"no environment uses {unused} of the store: `pipm gc --keep 0` removes it now")
    if missing:
        output.note("note", f"{counted(len(missing), 'environment')} missing: `pipm list` says which")


def _distribution_rows(distributions: Sequence[DistributionUsage]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("<DISTRIBUTION", ">ON DISK", ">SHARED", ">ENVIRONMENTS", "<VERSIONS")]
    rows += [
        (
            one.name,
            size_text(one.on_disk),
            size_text(one.shared),
            count_text(one.environments),
            ", ".join(one.versions),
        )
        for one in sorted(distributions, key=lambda one: (-one.on_disk, one.name))
    ]
    return rows


def show_entries(output: Output, store: str, name: str | None) -> int:
    """Run `pipm store ls`."""
    found = store_entries(store, name)
    if output.json:
        rows = [{"entry": entry, "files": files, "size": size} for entry, files, size in found]
        output.document("store ls", {"entries": rows})
        return 0
    if name is not None and not found:
        raise UsageError(
            f"No distribution in the store is named {name}", hint="`pipm store ls` lists what it has"
        )
    for entry, files, size in found:
        output.data(f"{entry}  {counted(files, 'file')}  {size_text(size)}")
    return 0


def environment_document(one: EnvironmentUsage) -> dict[str, object]:
    """Return the JSON of one environment."""
    document: dict[str, object] = {
        "path": one.path,
        "kind": one.kind,
        "python": one.python,
        "link_mode": one.link_mode,
        "distributions": one.distributions,
        "files": one.usage.files,
        "apparent": one.usage.apparent,
        "on_disk": one.usage.on_disk,
        "shared": one.usage.shared,
        "exclusive": one.usage.exclusive,
        "estimated": one.usage.estimated,
        "state": one.state,
        "note": one.note,
        "last_used": one.last_used,
        "measured": one.measured,
    }
    if one.adoptable is not None:
        document["adopting_frees"] = one.adoptable
    return document


def report_document(report: Report, store: str) -> dict[str, object]:
    """Return the JSON of `pipm df`."""
    of_store = report.store
    document: dict[str, object] = {
        "store": {
            "path": store,
            "apparent": 0 if of_store is None else of_store.usage.apparent,
            "on_disk": 0 if of_store is None else of_store.usage.on_disk,
            "estimated": 0 if of_store is None else of_store.usage.estimated,
            "reclaimable": 0 if of_store is None else of_store.reclaimable,
            "entries": 0 if of_store is None else of_store.entries,
            "objects": 0 if of_store is None else of_store.objects,
        },
        "environments": [environment_document(one) for one in report.environments],
        "outside": report.outside,
        "saved": report.saved,
        "saved_estimated": min(report.estimated, report.saved),
        "oldest": report.oldest,
    }
    if report.distributions:
        document["distributions"] = [
            {
                "name": one.name,
                "versions": one.versions,
                "on_disk": one.on_disk,
                "shared": one.shared,
                "environments": one.environments,
            }
            for one in report.distributions
        ]
    return document
