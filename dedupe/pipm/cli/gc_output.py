"""The output of `gc`."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.cli.changed_files_output import warn_of_changes
from pipm.cli.exit_codes import PARTLY
from pipm.cli.format_text import counted, missing_store_text, path_text, seconds_text
from pipm.cli.terminal_progress import progress_for
from pipm.core.disk_usage import is_rough
from pipm.core.plan.gc_plan import Fate
from pipm.core.size_text import size_text
from pipm.gc.collect import collect
from pipm.gc.evict import evict_unused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.core.plan.gc_plan import Limits, RootFact
    from pipm.fs.removal import Stuck
    from pipm.gc.collect import Collection


def collect_garbage(
    output: Output, store: str, limits: Limits, *, timeout: float | None, dry_run: bool
) -> int:
    """Run `pipm gc`; return the exit code."""
    retired = evict_unused(store, limits.keep, dry_run=dry_run, timeout=timeout)
    limits = replace(limits, retired=retired.paths)
    found = collect(store, limits, progress_for(output), dry_run=dry_run, timeout=timeout)
    found = replace(found, stuck=(*retired.stuck, *found.stuck))
    if output.json:
        output.document("gc", _document(found) | {"environments_removed": list(retired.paths)})
        return PARTLY if found.stuck else 0
    if retired.paths:
        verb = "Would remove" if dry_run else "Removed"
        count = counted(len(retired.paths), "environment")
        output.result(f"{verb} {count} that `pipm run` made and nobody uses, {size_text(retired.size)}")
    gone = tuple(path for path in found.roots_dropped if path not in retired.paths)
    _print(output, replace(found, roots_dropped=gone), dry_run=dry_run)
    if missing := missing_store_text(store):
        output.note("note", missing)
    _say_missing(output, found.missing, limits.keep)
    if dry_run and (found.roots_dropped or found.entries_removed or found.bytes_freed):
        output.note("note", "nothing was removed due to --dry-run")
    _say_stuck(output, found.stuck)
    warn_of_changes(output, found.changed)
    return PARTLY if found.stuck else 0


def _document(found: Collection) -> dict[str, object]:
    return {
        "entries_removed": len(found.entries_removed),
        "objects_removed": found.objects_removed,
        "bytes_freed": found.bytes_freed,
        "bytes_estimated": found.bytes_estimated,
        "roots_dropped": list(found.roots_dropped),
        "entries": list(found.entries_removed),
        "busy": list(found.busy),
        "missing": [{"path": root.path, "state": root.fate.value} for root in found.missing],
        "changed": list(found.changed),
        "stuck": [{"path": one.path, "reason": one.reason} for one in found.stuck],
        "seconds": round(found.seconds, 3),
    }


def _say_stuck(output: Output, stuck: Sequence[Stuck]) -> None:
    if not stuck:
        return
    # Several names of one inode fail together: one is enough.
    distinct = list({one.inode or one.path: one for one in stuck}.values())
    output.note("warning", f"{counted(len(distinct), 'file')} could not be removed, all else was")
    output.named(f"{path_text(one.path)}: {one.reason}" for one in distinct)
    if any(one.lacks_room for one in distinct):
        output.note("hint", "the trash needs space: `pipm gc --keep 0` removes without the trash")
    protected = [one for one in distinct if one.error == errno.EPERM]
    if protected:
        output.note(
            "hint", f"it may be immutable: chattr -i {path_text(protected[0].path)}, then run gc again"
        )


def _print(output: Output, found: Collection, *, dry_run: bool) -> None:
    for path in found.roots_dropped:
        output.result(f"{'Would forget' if dry_run else 'Forgot'} {path_text(path)}")
    entries, objects = len(found.entries_removed), found.objects_removed
    nothing = not (entries or objects or found.bytes_freed)
    if nothing:
        output.result("Nothing to remove")
    else:
        verb, freed = ("Would remove", "frees") if dry_run else ("Removed", "freed")
        about = "about " if is_rough(found.bytes_estimated, found.bytes_freed) else ""
        output.result(
            f"{verb} {counted(objects, 'object')} and {counted(entries, 'distribution')},"
            f" {freed} {about}{size_text(found.bytes_freed)} {seconds_text(found.seconds)}"
        )
    if output.verbose:
        for entry in found.entries_removed:
            output.result(f"  {entry}")
    if found.later:
        output.note("note", "the store's trash keeps it for a day: `--keep 0` frees it at once")
    if found.busy:
        output.note("note", f"{counted(len(found.busy), 'distribution')} stay, because processes use them")
        output.named(found.busy)


def _moment_text(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _say_missing(output: Output, missing: Sequence[RootFact], keep: float) -> None:
    """Print which missing environments still keep distributions, until when, and how to end that."""
    deleted = [root for root in missing if root.fate is not Fate.UNREACHABLE]
    if deleted:
        output.note("note", f"{counted(len(deleted), 'environment')} deleted or moved, but kept for now:")
        output.named(f"{path_text(root.path)}, until {_moment_text(root.seen + keep)}" for root in deleted)
        output.note(
            "hint", "`pipm gc --missing` removes what only they needed; first `pipm adopt` those you moved"
        )
    unreachable = [root for root in missing if root.fate is Fate.UNREACHABLE]
    if unreachable:
        output.note("note", f"{counted(len(unreachable), 'environment')} cannot be reached now")
        output.named(path_text(root.path) for root in unreachable)
        output.note("hint", f"if one will not come back: pipm gc --forget {path_text(unreachable[0].path)}")
