"""`pipm run`: a program with what a lock names, without an environment of one's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from shutil import which
from typing import TYPE_CHECKING

from dedupe.env.environment import load_environment
from dedupe.errors import InterruptedRunError, PipmError, UsageError
from dedupe.fs.faults import explained
from dedupe.ops.runs import environment_for
from dedupe.store.layout import store_path
from dedupe.ui.output import Output

if TYPE_CHECKING:
    from dedupe.env.environment import Environment
    from dedupe.ops.progress import Progress

_NOT_FOUND = 127
"""What shells say of a program that is not there."""


@dataclass(kw_only=True, slots=True)
class _Options:
    """The command line of `pipm run`, before the program's own."""

    lock: str | None = None
    env: str | None = None
    python: str | None = None
    store: str | None = None


def hand_over(arguments: list[str]) -> int:
    """Do what ``run [OPTION…] [--] CMD…`` asks for; returns only where that fails."""
    output = Output()
    try:
        return run_program(output, arguments[1:])
    except PipmError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code


def run_program(output: Output, arguments: list[str]) -> int:
    """Become the program, in the environment that is meant."""
    options, command = _parsed(arguments)
    if not command:
        raise UsageError("Nothing to run", hint="pipm run -- python app.py")
    store = store_path(options.store)

    def progress() -> Progress:
        from dedupe.ui.progress import progress_for  # noqa: PLC0415 - a second run needs none

        return progress_for(output)

    path = options.env or environment_for(store, options.lock, options.python, progress)
    return _become(output, load_environment(path), command)


def _become(output: Output, environment: Environment, command: list[str]) -> int:
    python = environment.interpreter
    if python is None:
        raise UsageError(f"{environment.path} has no interpreter that runs", hint="make it anew")
    if command[0].endswith(".py") and os.path.isfile(command[0]):
        command = ["python", *command]
    programs = os.path.dirname(python)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    environ["VIRTUAL_ENV"] = environment.path
    environ["PATH"] = os.pathsep.join([programs, environ.get("PATH", os.defpath)])
    program = python if command[0] == "python" else which(command[0], path=environ["PATH"])
    if program is None:
        hint = f"those of the lock are in {programs}"
        output.error(UsageError(f"There is no program {command[0]}", hint=hint))
        return _NOT_FOUND
    arguments = [python, *command[1:]] if program == python else command
    try:
        os.execve(program, arguments, environ)  # noqa: S606 - no shell between: that is what we want
    except OSError as error:
        raise explained(error, f"run {program}") from error


def _parsed(arguments: list[str]) -> tuple[_Options, list[str]]:
    """Split at the first word that is no option, or at ``--``."""
    options = _Options()
    words = list(arguments)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name not in ("--lock", "--env", "--python", "--store"):
            raise UsageError(
                f"pipm run has no option {name}", hint="CMD's options stand behind it; pipm run -h"
            )
        if not equals:
            if not words:
                raise UsageError(f"{name} needs a value", hint="pipm run -h")
            value = words.pop(0)
        setattr(options, name[2:], value)
    return options, words
