"""The arguments of `pipm lock`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import (
    ActiveEnvironment,
    Extras,
    Groups,
    Session,
    app,
    command,
)


@command(app, "lock")
def lock_command(
    session: Session,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="pyproject.toml or a file of requirements."),
    ] = None,
    to: Annotated[
        str, typer.Option("-o", "--output", metavar="LOCK", help="pylock.toml or pylock.NAME.toml.")
    ] = "pylock.toml",
    environment: ActiveEnvironment = ".venv",
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PYTHON", help="Lock for 3.12, or a path; else --env's."),
    ] = None,
    extras: Extras = None,
    groups: Groups = None,
) -> int:
    """Write pylock.toml for a project or a file of requirements.

    Examples:

      pipm lock

      pipm lock requirements.in -o pylock.tools.toml

    If uv is on PATH, it makes the lock, for every platform; else pip does, for this interpreter. Default is
    pyproject.toml, requirements.in or requirements.txt in this folder.
    """
    from pipm.cli.lock_output import lock_project

    return lock_project(
        session.output,
        source,
        to,
        python=python,
        environment=environment,
        extras=extras or [],
        groups=groups or [],
    )
