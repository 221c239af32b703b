"""The output of `pipm schedule`."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from pipm.cli.format_text import path_text
from pipm.errors import NotAnEnvironmentError
from pipm.schedule.timers import adopt_command, schedule, unschedule
from pipm.store.configuration import user_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output


def change_schedule(
    output: Output,
    store: str,
    folders: Sequence[str],
    exclude: Sequence[str],
    *,
    often: str | None,
    dry_run: bool,
) -> int:
    """Make the schedule *often*, or remove it (None), and print the result."""
    if often is None:
        return _end_schedule(output, dry_run=dry_run)
    for folder in folders:
        if not os.path.isdir(folder):
            raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
    every = [os.path.realpath(folder) for folder in folders or [os.path.expanduser("~")]]
    command = adopt_command(store, every, exclude)
    change = schedule(command, often, dry_run=dry_run)
    if output.json:
        document = {"by": change.means, "often": often, "command": command, "changed": change.new}
        output.document("schedule", document)
    elif not change.new:
        output.result(f"Nothing to do: {change.means} runs it {often}")
    else:
        output.result(
            f"{'Would run' if dry_run else 'Runs'} {often} by {change.means}: {shlex.join(command)}"
        )
        for line in change.lines:
            output.result(f"  {path_text(line)}")
    if dry_run:
        output.note("note", "nothing was changed due to --dry-run")
    elif change.new:
        output.note(
            "hint", f"`pipm schedule --remove` ends it; it obeys the settings in {path_text(user_file())}"
        )
    return 0


def _end_schedule(output: Output, *, dry_run: bool) -> int:
    removed = unschedule(dry_run=dry_run)
    for what in removed:
        output.result(f"{'Would remove' if dry_run else 'Removed'} {path_text(what)}")
    if not removed:
        output.result("Nothing is scheduled")
    if output.json:
        output.document("schedule", {"removed": removed})
    return 0
