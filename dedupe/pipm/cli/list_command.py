"""The arguments of `pipm list`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import sort_keys, stored_names
from pipm.cli.options import Exact, Exclude, Session, app, command


@command(app, "list")
def list_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    folder: Annotated[str | None, typer.Argument(metavar="[DIR]", help="All environments below DIR.")] = None,
    exclude: Exclude = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="KEY", help="path, exclusive, size, used or frees.", autocompletion=sort_keys
        ),
    ] = "path",
    unused: Annotated[
        str | None, typer.Option("--unused", metavar="AGE", help="Only those unused for AGE: 12h, 90d, 4w.")
    ] = None,
    uses: Annotated[
        str | None,
        typer.Option(
            "--uses",
            metavar="SPEC",
            help="Only those that contain it: numpy, 'numpy<2'.",
            autocompletion=stored_names,
        ),
    ] = None,
    broken: Annotated[
        bool, typer.Option("--broken", help="Only those without interpreter or store, and missing ones.")
    ] = False,
    exact: Exact = False,
) -> int:
    """List environments, and the bytes that deleting each would free.

    Without DIR it lists those that the store knows, and named ones. Examples:

      pipm list ~/code --sort exclusive

      pipm list --unused 90d

      pipm list --uses 'numpy<2'

    EXCLUSIVE is what deleting an environment frees. A terminal that is too narrow shows fewer columns.
    With DIR it also estimates how much adopting would free, environment after environment, for those
    that are not adopted or grew since, as `pipm adopt --dry-run` does.
    """
    from pipm.cli.usage_output import Choice, show_list
    from pipm.core.quantities import parse_age

    chosen = Choice(unused=None if unused is None else parse_age(unused), uses=uses, broken=broken)
    return show_list(
        session.output, session.store, folder, exclude=exclude or [], sort=sort, chosen=chosen, exact=exact
    )
