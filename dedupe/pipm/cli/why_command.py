"""The arguments of `pipm why`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import stored_names
from pipm.cli.options import Session, app, command


@command(app, "why")
def why_command(
    session: Session,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH", help="A distribution, a file or a folder.", autocompletion=stored_names
        ),
    ],
) -> int:
    """Show what keeps a distribution, or where a file is shared.

    Examples:

      pipm why numpy

      pipm why .venv/lib/python3.12/site-packages/numpy/__init__.py
    """
    from pipm.cli.why_output import show_why

    return show_why(session.output, session.store, subject)
