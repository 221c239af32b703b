"""The arguments of `pipm gc`."""

from __future__ import annotations

import os
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
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Remove more, until the store has this size: 5G."),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="PATH", help="Forget the environments at or below PATH, or @NAME."),
    ] = None,
    missing: Annotated[
        bool,
        typer.Option("--missing", help="Forget all deleted environments, and remove what only they used."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Seconds to wait for other processes."),
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Remove from the store what no environment needs any more.

    Examples:

      pipm gc -n

      pipm gc --keep 0

      pipm gc --missing

    The distributions of a deleted environment stay for 14 days (--keep), because it may only have been moved.
    gc removes nothing outside of the store, and environments keep their files.
    """
    from pipm.cli.gc_output import collect_garbage
    from pipm.core.plan.gc_plan import Limits
    from pipm.core.quantities import parse_age, parse_size
    from pipm.store.paths import environment_path

    limits = Limits(
        keep=parse_age(keep),
        max_size=None if max_size is None else parse_size(max_size),
        forget=tuple(os.path.realpath(environment_path(os.path.expanduser(path))) for path in forget or ()),
        missing=missing,
    )
    return collect_garbage(session.output, session.store, limits, timeout=timeout, dry_run=dry_run)
