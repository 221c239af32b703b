"""The arguments of `pipm list`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import Exact, Session, app, command


@command(app, "list")
def list_command(
    session: Session,
    folder: Annotated[str | None, typer.Argument(metavar="[DIR]", help="All environments below DIR.")] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="path, exclusive, size, used or frees.")
    ] = "path",
    unused: Annotated[
        str | None, typer.Option("--unused", metavar="AGE", help="Only those not used for AGE: 12h, 90d, 4w.")
    ] = None,
    exact: Exact = False,
) -> int:
    """List environments, and what deleting each would free.

    Without DIR those that the store knows. Examples:

      pipm list ~/code --sort exclusive

      pipm list --unused 90d

    With DIR it says of environments that are not adopted up to about how much adopting them would free,
    one after the other, from what their RECORDs promise.
    """
    from pipm.cli.usage_output import show_list

    return show_list(session.output, session.store, folder, sort=sort, unused=unused, exact=exact)
