"""The command run; `__main__` hands over before typer is imported, so this is what its help says."""

from __future__ import annotations

from typing import Annotated

import typer

from dedupe.cli.frame import Session, app, command


@command(app, "run", context_settings={"allow_interspersed_args": False})
def run_command(
    session: Session,
    program: Annotated[list[str] | None, typer.Argument(metavar="CMD...", help="A program.")] = None,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="LOCK", help="A lock file; else the nearest one upward.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--env", metavar="DIR", help="An existing environment instead.")
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PYTHON", help="3.12, or a path; else python3.")
    ] = None,
) -> int:
    """Run a program with what a lock names, without an environment.

    Examples:

      pipm run -- python app.py

      pipm run --lock uv.lock pytest -q

    The modules are imported from the store; a second run starts at once. The exit code is the program's.
    """
    from dedupe.ui.run import run_program

    chosen = {"--lock": lock, "--env": environment, "--python": python, "--store": session.store}
    options = [part for name, value in chosen.items() if value for part in (name, value)]
    return run_program(session.output, [*options, "--", *(program or ())])
