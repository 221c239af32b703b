"""The arguments of `pipm report`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import Exact, Exclude, Session, app, command


@command(app, "report")
def report_command(
    session: Session,
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="Environments below DIR as well, adopted or not.")
    ] = None,
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write; - prints it.")
    ] = "report.html",
    exclude: Exclude = None,
    exact: Exact = False,
) -> int:
    """Draw where the bytes are: one HTML page, a map and a list.

    It loads nothing from anywhere. Examples:

      pipm report ~/code -o report.html
    """
    from pipm.cli.report_output import make_report

    return make_report(session.output, session.store, folder, target, exclude=exclude or [], exact=exact)
