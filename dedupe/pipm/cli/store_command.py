"""The arguments of `pipm store`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import stored_names
from pipm.cli.options import Session, command, store_app


@command(store_app, "path")
def store_path_command(session: Session) -> int:
    """Print where the store is."""
    if session.output.json:
        session.output.document("store path", {"path": session.store})
    else:
        session.output.data(session.store)
    return 0


@command(store_app, "add")
def store_add_command(
    session: Session,
    wheels: Annotated[list[str], typer.Argument(metavar="WHEEL...", help="Wheel files.")],
) -> int:
    """Add wheel files to the store."""
    from pipm.cli.environments_output import add_wheels

    return add_wheels(session.output, session.store, wheels)


@command(store_app, "ls")
def store_ls_command(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One distribution.", autocompletion=stored_names)
    ] = None,
) -> int:
    """List the wheels that the store has."""
    from pipm.cli.usage_output import show_entries

    return show_entries(session.output, session.store, name)
