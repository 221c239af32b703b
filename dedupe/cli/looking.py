"""Commands that look: list, df, store."""

from __future__ import annotations

from typing import Annotated

import typer

from dedupe.cli.frame import Session, app, command, store_app


@command(app, "list")
def list_command(
    session: Session,
    folder: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Look below DIR as well.")] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="path, exclusive, size or used.")
    ] = "path",
) -> int:
    """List environments, and what deleting each would free (EXCLUSIVE).

    Without DIR those that the store knows. Examples:

      pipm list ~/code --sort exclusive
    """
    from dedupe.ui.usage import show_list

    return show_list(session.output, session.store, folder, sort)


@command(app, "df")
def df_command(session: Session) -> int:
    """Say where the bytes are: environments, store, and what sharing saves."""
    from dedupe.ui.usage import show_df

    return show_df(session.output, session.store)


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
    """Let wheel files into the store."""
    from dedupe.ui.commands import add_wheels

    return add_wheels(session.output, session.store, wheels)


@command(store_app, "ls")
def store_ls_command(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One distribution.")] = None,
) -> int:
    """List the wheels that the store has."""
    from dedupe.ui.usage import show_entries

    return show_entries(session.output, session.store, name)
