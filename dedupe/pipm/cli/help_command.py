"""The arguments of `pipm help`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import help_subjects
from pipm.cli.options import Session, app, command


@command(app, "help")
def help_command(
    session: Session,
    about: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMAND|TOPIC]", help="A command, or one of the topics.", autocompletion=help_subjects
        ),
    ] = None,
) -> int:
    """Explain a command, or a topic.

    Topics: environment, exit-codes, files, finder, keeping, link-modes, locks, settings,
    store, syncing, without-environment, wrapped-pip.
    """
    from pipm.cli.help_topics import topic

    known = {one.name for one in app.registered_commands} | {"store", "key", "hook"}
    if about is None or (about in known and about != "store"):
        app([*([about] if about else []), "--help"], prog_name="pipm", standalone_mode=False)
    else:
        session.output.data(topic(about))
    return 0
