"""The arguments of `pipm rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import named_environments
from pipm.cli.options import DryRun, Session, app, command
from pipm.errors import UsageError


def _confirmed(text: str) -> bool:
    try:
        return typer.confirm(text, err=True)
    except typer.Abort:
        raise UsageError("There was no answer, so nothing was deleted", hint="pipm rm --yes ENV") from None


@command(app, "rm")
def rm_command(
    session: Session,
    environments: Annotated[
        list[str],
        typer.Argument(metavar="ENV...", help="Environments, or @NAME.", autocompletion=named_environments),
    ],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
) -> int:
    """Delete environments, and print the freed bytes.

    Examples:

      pipm rm old/.venv

      pipm rm --yes $(pipm list -q --unused 180d)

    It deletes only venvs that contain nothing else. Files that others share stay. `pipm gc` removes
    what no environment needs.
    """
    from pipm.cli.rm_output import remove_environments

    ask = None if yes else _confirmed
    return remove_environments(session.output, session.store, environments, ask=ask, dry_run=dry_run)
