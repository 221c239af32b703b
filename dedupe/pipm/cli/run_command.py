"""The arguments of `pipm run`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import named_environments
from pipm.cli.options import Session, app, command


@command(app, "run", context_settings={"allow_interspersed_args": False})
def run_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    program: Annotated[list[str] | None, typer.Argument(metavar="CMD...", help="A program.")] = None,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="LOCK", help="A lock file; else the nearest one upward.")
    ] = None,
    no_lock: Annotated[bool, typer.Option("--no-lock", help="Use no lock file.")] = False,
    specs: Annotated[
        list[str] | None,
        typer.Option("--with", "-w", metavar="SPEC", help="Add this requirement; uv or pip resolves it."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Resolve the requirements of --with or the script again.")
    ] = False,
    environments: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="DIR|@NAME",
            help="Run in this environment; --lock and --with add to it. After `pipm pip` and `pipm install`,"
            " -e is pip's: editable.",
            autocompletion=named_environments,
        ),
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", "-p", metavar="PYTHON", help="3.12, or a path; else python3.")
    ] = None,
    script: Annotated[
        bool, typer.Option("--script", help="CMD is a Python script, even without .py.")
    ] = False,
) -> int:
    """Run a program with a lock's distributions, in no environment.

    Examples:

      pipm run -- python app.py

      pipm run --lock uv.lock pytest -q

      pipm run --with "rich>=13" python -m rich.emoji

      pipm run script.py

      pipm run -e @science jupyter lab

    Python imports the modules from the store; a second run starts at once. The exit code is the program's.

    The lock is the nearest one upward; --with adds to it, and needs none. If a script has metadata of its own
    (PEP 723), pipm uses that, and script.py.lock if it exists. --env runs in an existing environment
    and syncs it first if its lock changed; distributions of --lock, --with or a script come before the
    environment's own.
    """
    arguments = locals()
    from pipm.cli.option_table import RunArguments
    from pipm.cli.run_program import run_program

    return run_program(lambda: session.output, session.store, RunArguments(arguments))
