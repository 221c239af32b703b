"""The arguments of `pipm schedule`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import DryRun, Exclude, Session, app, command


@command(app, "schedule")
def schedule_command(
    session: Session,
    folders: Annotated[
        list[str] | None, typer.Argument(metavar="[DIR]...", help="Folders; else your home folder.")
    ] = None,
    exclude: Exclude = None,
    weekly: Annotated[
        bool, typer.Option("--weekly/--daily", help="Once a week instead of once a day.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="End it.")] = False,
    dry_run: DryRun = False,
) -> int:
    """Let the system run `pipm adopt --all` regularly.

    Examples:

      pipm schedule -n            what it would write

      pipm schedule --weekly ~/code

      pipm schedule --remove

    It makes a systemd timer for your user, else a line in your crontab. If nothing
    changed, a run takes about a second for a hundred environments.
    """
    from pipm.cli.schedule_output import change_schedule

    often = "weekly" if weekly else "daily"
    return change_schedule(
        session.output,
        session.store,
        folders or [],
        exclude or [],
        often=None if remove else often,
        dry_run=dry_run,
    )
