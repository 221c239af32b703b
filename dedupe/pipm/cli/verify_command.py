"""The arguments of `pipm verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import named_environments
from pipm.cli.options import Session, app, command


@command(app, "verify")
def verify_command(
    session: Session,
    environments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENV]...",
            help="Check the files of these; else of the whole store.",
            autocompletion=named_environments,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read all bytes, not only times and sizes.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair damage from any clean copy.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Rebuild lost indexes and roots from existing files.")
    ] = False,
) -> int:
    """Find changed shared files, and their environments.

    Examples:

      pipm verify

      pipm verify --full --repair

    The exit code is 1 if damage remains. An edited file that only its environment has is not damage.
    """
    from pipm.cli.verify_output import verify_store

    return verify_store(
        session.output, session.store, environments or [], full=full, repair=repair, anew=rebuild
    )
