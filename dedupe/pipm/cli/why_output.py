"""The output of `why`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.cli.format_text import count_text, counted, path_text
from pipm.core.size_text import size_text
from pipm.inspect.path_info import ENVIRONMENT, NOT_YET
from pipm.inspect.why import explain
from pipm.store.paths import environment_path

if TYPE_CHECKING:
    from pipm.cli.output import Output
    from pipm.inspect.path_info import PathFacts
    from pipm.inspect.why import KeptEntry

_MOST_KEEPERS = 10
_MOST_ENTRIES = 10


def show_why(output: Output, store: str, subject: str) -> int:
    """Run `pipm why`."""
    found = explain(store, environment_path(subject))
    if output.json:
        document: dict[str, object] = {"entries": [_entry_document(entry) for entry in found.entries]}
        if found.path is not None:
            document["path"] = _path_document(found.path)
        output.document("why", document)
        return 0
    if found.path is not None:
        _print_path(output, found.path)
    if found.path is not None and found.path.kind == ENVIRONMENT:
        output.table(_rows(found.entries, found.path.environment))
        return 0
    shown = found.entries if output.verbose else found.entries[:_MOST_ENTRIES]
    for entry in shown:
        _print_entry(output, entry)
    if len(found.entries) > len(shown):
        output.result(f"… {len(found.entries) - len(shown)} more distributions (`--verbose`)")
    return 0


def _print_path(output: Output, facts: PathFacts) -> None:
    output.result(path_text(facts.path))
    of = f" of {facts.distribution}" if facts.distribution else ""
    within = f", in {path_text(facts.environment)}" if facts.environment not in ("", facts.path) else ""
    number = f", {counted(facts.files, 'file')}" if facts.files > 1 else ""
    output.result(f"  {facts.kind}{of}{within}{number}, {size_text(facts.apparent)}")
    if facts.by:
        part = f", {size_text(facts.shared)} on disk" if facts.files > 1 else ""
        output.result(f"  shared with the store by {facts.by}{part}")
        shown = facts.partners if output.verbose else facts.partners[:_MOST_KEEPERS]
        for partner in shown:
            output.result(f"  and with {path_text(partner)}")
        if len(facts.partners) > len(shown):
            output.result(f"  … {len(facts.partners) - len(shown)} more (`--verbose`)")
    elif facts.reason:
        output.result(f"  its own: {facts.reason}")
        if facts.reason == NOT_YET:
            output.note("hint", f"pipm adopt {path_text(facts.environment)}")


def _print_entry(output: Output, entry: KeptEntry) -> None:
    title = f"{entry.name} {entry.version}   {size_text(entry.on_disk)}"
    if not entry.users:
        when = "`pipm gc` removes it" if entry.condemned else "`pipm gc` removes it after some unused days"
        output.result(f"{title}   kept by nothing, {when}")
        return
    output.result(f"{title}   kept by {counted(len(entry.users), 'environment')}")
    shown = entry.users if output.verbose else entry.users[:_MOST_KEEPERS]
    width = max(len(path_text(user.path)) for user in shown)
    for user in shown:
        how = os.path.basename(user.how) if os.sep in user.how else user.how
        missing = ", missing" if user.missing else ""
        output.result(f"  {path_text(user.path):<{width}}  {how}{missing}")
    if len(entry.users) > len(shown):
        output.result(f"  … {len(entry.users) - len(shown)} more (`--verbose`)")


def _rows(entries: tuple[KeptEntry, ...], environment: str) -> list[tuple[str, ...]]:
    """Return the entries that one environment uses, with their other users; the largest first."""
    rows: list[tuple[str, ...]] = [("<DISTRIBUTION", "<VERSION", ">ON DISK", "<ALSO KEPT BY")]
    for entry in sorted(entries, key=lambda entry: -entry.on_disk):
        others = [user.path for user in entry.users if user.path != environment]
        number = f"{count_text(len(others))} other environments" if others else "-"
        also = path_text(others[0]) if len(others) == 1 else number
        rows.append((entry.name, entry.version, size_text(entry.on_disk), also))
    return rows


def _entry_document(entry: KeptEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "version": entry.version,
        "tag": entry.tag,
        "on_disk": entry.on_disk,
        "environments": [user.path for user in entry.users],
        "kept_by": [{"path": user.path, "how": user.how, "missing": user.missing} for user in entry.users],
        "condemned": entry.condemned,
    }


def _path_document(facts: PathFacts) -> dict[str, object]:
    return {
        "path": facts.path,
        "kind": facts.kind,
        "environment": facts.environment,
        "distribution": facts.distribution,
        "shared_by": facts.by,
        "shared_with": list(facts.partners),
        "reason": facts.reason,
        "files": facts.files,
        "apparent": facts.apparent,
        "shared": facts.shared,
    }
