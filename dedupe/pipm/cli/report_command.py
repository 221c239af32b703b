"""The arguments of `pipm report`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import Exact, Exclude, Session, app, command


@command(app, "report")
def report_command(
    session: Session,
    folder: Annotated[
        str | None,
        typer.Argument(metavar="[DIR]", help="All environments below DIR; else those that the store knows."),
    ] = None,
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The file to write; - prints the page.")
    ] = "report.html",
    exclude: Exclude = None,
    exact: Exact = False,
) -> int:
    """Write an HTML page with a map and a list of the bytes.

    The page loads nothing from elsewhere. Examples:

      pipm report

      pipm report ~/code -o report.html

      pipm report @science
    """
    from pipm.cli.report_output import make_report

    return make_report(session.output, session.store, folder, target, exclude=exclude or [], exact=exact)
