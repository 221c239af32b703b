"""Commands around pip: venv, pip, install, and what the wrapper runs when pip is done."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from pipm.cli.frame import LinkModeOption, Session, app, command

_ALL_TO_PIP = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,  # what stands behind the first word is pip's, -q and -v too
    "help_option_names": [],
}


@command(app, "venv")
def venv_command(
    session: Session,
    folder: Annotated[
        str, typer.Argument(metavar="DIR|@NAME", help="A new or empty folder; or yours by name.")
    ],
    python: Annotated[
        str | None,
        typer.Option("--python", "-p", metavar="VERSION|PATH", help="3.12, pypy3.9, a path; else python3."),
    ] = None,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="LOCK", help="Sync it with this lock file, too.")
    ] = None,
    link_mode: LinkModeOption = "auto",
    wrap: Annotated[
        bool, typer.Option("--wrap-pip/--no-wrap-pip", help="Its pip goes through the store.")
    ] = True,
) -> int:
    """Make an environment whose pip goes through the store.

    Examples:

      pipm venv .venv

      pipm venv --python 3.12 .venv

      pipm venv .venv --lock uv.lock

      pipm venv @science --lock pylock.toml

    An ordinary environment of `python -m venv`, with pip. What pip installs there is shared by itself. One
    with a @NAME belongs to no project; run, sync, pip, install, adopt and release know it by that name.
    """
    from pipm.ui.venv import make_environment, make_synced

    make = make_environment if lock is None else partial(make_synced, lock=lock)
    return make(session.output, session.store, folder, python=python, link_mode=link_mode, wrap=wrap)


@command(app, "pip", context_settings=_ALL_TO_PIP)
def pip_command(
    session: Session,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS...", help="pip's; and --env DIR.")
    ] = None,
) -> int:
    """Run an environment's pip; what it installs is shared.

    Examples:

      pipm pip install --env .venv rich

    The environment is --env, else the active one, else .venv. The exit code is pip's.
    """
    from pipm.ui.pip import run_pip

    return run_pip(session.output, session.store, arguments or [])


@command(app, "install", context_settings=_ALL_TO_PIP)
def install_command(
    session: Session,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="SPEC...", help="and pip's options; and --env DIR.")
    ] = None,
) -> int:
    """Install into an environment: short for `pipm pip install`."""
    from pipm.ui.pip import run_pip

    return run_pip(session.output, session.store, ["install", *(arguments or [])])


@command(app, "after-pip", hidden=True)
def after_pip_command(
    session: Session,
    wheels: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH=NAME]...", help="Archives to learn.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--env", metavar="DIR", help="Where pip installed.")
    ] = None,
) -> int:
    """Share what pip installed; the wrapper runs this."""
    from pipm.ui.pip import share_rest

    share_rest(session.store, environment, wheels or [])
    return 0
