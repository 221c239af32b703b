"""The arguments of `pipm venv`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from pipm.cli.options import LinkModeOption, Session, app, command


@command(app, "venv")
def venv_command(
    session: Session,
    folder: Annotated[str, typer.Argument(metavar="DIR|@NAME", help="A new or empty folder, or @NAME.")],
    python: Annotated[
        str | None,
        typer.Option("--python", "-p", metavar="VERSION|PATH", help="3.12, pypy3.9, a path; else python3."),
    ] = None,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="LOCK", help="Also sync it with this lock file.")
    ] = None,
    link_mode: LinkModeOption = "",
    wrap: Annotated[
        bool, typer.Option("--wrap-pip/--no-wrap-pip", help="Let its pip take files from the store.")
    ] = True,
) -> int:
    """Make an environment whose pip takes files from the store.

    Examples:

      pipm venv .venv

      pipm venv --python 3.12 .venv

      pipm venv .venv --lock uv.lock

      pipm venv @science --lock pylock.toml

    It is an environment of `python -m venv`, with pip. pipm shares what pip installs there. An environment
    with a @NAME belongs to no project; run, sync, pip, install, adopt and release accept that name.
    """
    from pipm.cli.venv_output import make_environment, make_synced

    make = make_environment if lock is None else partial(make_synced, lock=lock)
    return make(session.output, session.store, folder, python=python, link_mode=link_mode, wrap=wrap)
