"""The arguments of `pipm gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import DryRun, Session, app, command


@command(app, "gc")
def gc_command(
    session: Session,
    keep: Annotated[
        str, typer.Option("--keep", metavar="AGE", help="Keep what was used since: 0, 12h, 30d, 2w.")
    ] = "14d",
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Remove more until it fits: 5G.")
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="PATH", help="The environments at or below PATH are gone."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait so long for other processes.")
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Remove from the store what no environment needs any more.

    Examples:

      pipm gc -n

      pipm gc --keep 0

    Environments that are gone are forgotten. What an environment has stays its own: nothing that exists
    outside of the store is removed.
    """
    from pipm.cli.gc_output import collect_garbage

    return collect_garbage(
        session.output,
        session.store,
        keep=keep,
        max_size=max_size,
        forget=forget or [],
        timeout=timeout,
        dry_run=dry_run,
    )
