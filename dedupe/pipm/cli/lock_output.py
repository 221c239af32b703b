"""The output of `pipm lock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.format_text import counted, path_text, seconds_text
from pipm.env.base_interpreter import find_interpreter
from pipm.env.environment import is_environment, load_environment
from pipm.env.permission import check_runnable
from pipm.lock_command.write_lock import LockRequest, find_source, write_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output


def lock_project(
    output: Output,
    source: str | None,
    path: str,
    *,
    python: str | None,
    environment: str,
    extras: Sequence[str],
    groups: Sequence[str],
) -> int:
    """Write a lock and print the result."""
    request = LockRequest(
        source=find_source(source),
        path=path,
        python=_interpreter(python, environment),
        extras=extras,
        groups=groups,
    )
    locked = write_lock(request)
    if output.json:
        document: dict[str, object] = {
            "lock": locked.path,
            "tool": locked.tool,
            "distributions": locked.distributions,
            "seconds": round(locked.seconds, 3),
        }
        output.document("lock", document)
    what = counted(locked.distributions, "distribution")
    took = seconds_text(locked.seconds)
    output.result(f"Locked {what} in {path_text(locked.path)} by {locked.tool} {took}")
    return 0


def _interpreter(python: str | None, environment: str) -> str:
    """Return the interpreter that the user asked for; else the environment's; else python3 of PATH."""
    if python is None and is_environment(environment):
        found = load_environment(environment).interpreter
        if found is not None:
            check_runnable(found)
            return found
    return find_interpreter(python).path
