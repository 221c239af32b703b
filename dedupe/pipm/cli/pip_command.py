"""The arguments of `pipm pip`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import Session, app, command

_HELP = frozenset({"-h", "--help"})
_ALL_TO_PIP = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,  # all words after the first are pip's, also -q and -v
    "help_option_names": [],
}


@command(app, "pip", context_settings=_ALL_TO_PIP)
def pip_command(
    session: Session,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS...", help="pip's arguments, and --env DIR.")
    ] = None,
) -> int:
    """Run an environment's pip, and share what it installs.

    Examples:

      pipm pip install --env .venv rich

    The environment is that of --env, else the active one, else .venv. The exit code is pip's.
    """
    return _run(session, arguments or [])


@command(app, "install", context_settings=_ALL_TO_PIP)
def install_command(
    session: Session,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="SPEC...", help="and pip's options; and --env DIR.")
    ] = None,
) -> int:
    """Install into an environment: short for `pipm pip install`."""
    return _run(session, ["install", *(arguments or [])])


def _run(session: Session, arguments: list[str]) -> int:
    from pipm.cli.run_pip_command import run_pip
    from pipm.errors import NotAnEnvironmentError

    try:
        return run_pip(session.output, session.store, arguments)
    except NotAnEnvironmentError:
        if _HELP.isdisjoint(arguments):
            raise
        session.output.data(session.explain())  # there is no pip to print its help
        return 0


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
    from pipm.cli.run_pip_command import share_after_pip_command

    share_after_pip_command(session.store, environment, wheels or [])
    return 0
