"""The arguments of `pipm adopt`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import DistInfo, DryRun, Environments, Exclude, LinkModeOption, Session, app, command


@command(app, "adopt")
def adopt_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    environments: Environments = None,
    below: Annotated[
        list[str] | None, typer.Option("--all", metavar="DIR", help="Every environment below DIR.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--dist", metavar="NAME", help="Also this distribution, which was released by name."),
    ] = None,
    exclude: Exclude = None,
    link_mode: LinkModeOption = "",
    compile_missing: Annotated[
        bool, typer.Option("--compile", help="Add bytecode for sources that have none.")
    ] = False,
    wrap: Annotated[
        bool | None,
        typer.Option("--wrap-pip/--no-wrap-pip", help="Let its pip take files from the store, or end that."),
    ] = None,
    dist_info: DistInfo = None,
    dry_run: DryRun = False,
) -> int:
    """Share environments' files with the store, in place.

    Examples:

      pipm adopt .venv

      pipm adopt --all ~/code -n

      pipm adopt --wrap-pip .venv   and pipm shares what pip installs there

    Works for environments of any tool, for packages that pip put into conda's, and for those of users and
    interpreters: pipm help files. It changes only bytecode, file times and permissions;
    `pipm release` undoes it.
    """
    arguments = locals()
    from pipm.cli.environments_output import adopt_environments
    from pipm.cli.option_table import AdoptArguments

    return adopt_environments(session.output, session.store, AdoptArguments(arguments))
