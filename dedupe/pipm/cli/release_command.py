"""The arguments of `pipm release`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import stored_names
from pipm.cli.options import DryRun, Environments, Session, app, command


@command(app, "release")
def release_command(
    session: Session,
    environments: Environments = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--dist",
            metavar="NAME",
            help="Only this distribution, to patch it.",
            autocompletion=stored_names,
        ),
    ] = None,
    below: Annotated[
        list[str] | None,
        typer.Option("--all", metavar="DIR", help="Every environment below DIR that shares files."),
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Undo adopt: give an environment its own copies again.

    Examples:

      pipm release .venv

      pipm release --dist numpy .venv

      pipm release --all ~ -n   print how much space that needs
    """
    from pipm.cli.environments_output import Named, release_environments

    named = Named(environments or [], below or [])
    return release_environments(session.output, session.store, named, names=names or [], dry_run=dry_run)
