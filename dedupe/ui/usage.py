"""What `list`, `df` and `store` say: columns without borders, names last where they are long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dedupe.core.usage import DiskUsage
from dedupe.errors import UsageError
from dedupe.ops.usage import EnvironmentUsage, disk_report, list_environments, store_entries
from dedupe.ui.words import age_text, count_text, counted, path_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupe.ops.usage import Report
    from dedupe.ui.output import Output

_SORTS: dict[str, Callable[[EnvironmentUsage], object]] = {
    "path": lambda one: one.path,
    "exclusive": lambda one: -one.usage.exclusive,
    "size": lambda one: -one.usage.on_disk,
    "used": lambda one: -one.last_used,
}


def show_list(output: Output, store: str, folder: str | None, sort: str) -> int:
    """`pipm list`."""
    if sort not in _SORTS:
        raise UsageError(f"Cannot sort by {sort!r}", hint=f"choose one of {', '.join(_SORTS)}")
    found = sorted(list_environments(store, folder), key=_SORTS[sort])  # type: ignore[arg-type]
    if output.json:
        output.document("list", {"environments": [_environment_document(one) for one in found]})
        return 0
    if output.quiet:
        for one in found:
            output.data(one.path)
        return 0
    if not found:
        output.result("No environments")
        output.note("hint", "`pipm list DIR` looks for those below a folder, `pipm adopt ENV` adds one")
        return 0
    head = ("ENVIRONMENT", "PYTHON", "DISTS", "APPARENT", "ON DISK", "EXCLUSIVE", "STATE", "USED")
    now = time.time()
    rows = [
        (
            path_text(one.path),
            one.python,
            count_text(one.distributions),
            size_text(one.usage.apparent),
            size_text(one.usage.on_disk),
            size_text(one.usage.exclusive),
            one.state,
            age_text(now - one.last_used),
        )
        for one in found
    ]
    _table(output, [head, *rows], "<<>>>><<")
    return 0


def show_df(output: Output, store: str) -> int:
    """`pipm df`."""
    report = disk_report(store)
    if output.json:
        output.document("df", _report_document(report, store))
        return 0
    if report.store is None:
        output.result(f"There is no store yet at {path_text(store)}")
        output.note("hint", "`pipm adopt ENV` makes it")
        return 0
    total = sum((one.usage for one in report.environments), DiskUsage())
    present = [one for one in report.environments if one.state != "missing"]
    exclusive = size_text(total.exclusive)
    of_store = report.store
    rows = [
        ("", "COUNT", "ACTIVE", "APPARENT", "ON DISK", "RECLAIMABLE"),
        (
            "Environments",
            count_text(len(report.environments)),
            count_text(len(present)),
            size_text(total.apparent),
            exclusive,
            "-",
        ),
        (
            "Distributions",
            count_text(of_store.entries),
            count_text(of_store.active),
            size_text(of_store.usage.apparent),
            size_text(of_store.usage.on_disk),
            size_text(of_store.reclaimable),
        ),
    ]
    _table(output, rows, "<>>>>>")
    output.result(f"Sharing saves {size_text(report.saved)}")
    if output.verbose:
        output.result(f"Store: {path_text(of_store.path)}, {counted(of_store.objects, 'object')}")
    return 0


def show_entries(output: Output, store: str, name: str | None) -> int:
    """`pipm store ls`."""
    found = store_entries(store, name)
    if output.json:
        rows = [{"entry": entry, "files": files, "size": size} for entry, files, size in found]
        output.document("store ls", {"entries": rows})
        return 0
    if name is not None and not found:
        raise UsageError(f"The store has no {name}", hint="`pipm store ls` lists what it has")
    for entry, files, size in found:
        output.data(f"{entry}  {counted(files, 'file')}  {size_text(size)}")
    return 0


def _environment_document(one: EnvironmentUsage) -> dict[str, object]:
    return {
        "path": one.path,
        "python": one.python,
        "link_mode": one.link_mode,
        "distributions": one.distributions,
        "apparent": one.usage.apparent,
        "on_disk": one.usage.on_disk,
        "exclusive": one.usage.exclusive,
        "state": one.state,
        "last_used": one.last_used,
    }


def _report_document(report: Report, store: str) -> dict[str, object]:
    of_store = report.store
    return {
        "store": {
            "path": store,
            "apparent": 0 if of_store is None else of_store.usage.apparent,
            "on_disk": 0 if of_store is None else of_store.usage.on_disk,
            "reclaimable": 0 if of_store is None else of_store.reclaimable,
            "entries": 0 if of_store is None else of_store.entries,
            "objects": 0 if of_store is None else of_store.objects,
        },
        "environments": [_environment_document(one) for one in report.environments],
        "saved": report.saved,
    }


def _table(output: Output, rows: Sequence[tuple[str, ...]], alignment: str) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(alignment))]
    for row in rows:
        cells = (f"{cell:{align}{width}}" for cell, align, width in zip(row, alignment, widths, strict=True))
        output.result("  ".join(cells).rstrip())
