"""`pipm run`: a program with what a lock names, without an environment of one's own.

The way of a warm run leads through this module: nothing here may import what takes milliseconds.
"""

from __future__ import annotations

import os

from pipm.env.find_program import which
from pipm.env.permission import check_runnable
from pipm.errors import InterruptedRunError, PipmError, UsageError
from pipm.run.cached_environment import environment_for
from pipm.run.run_request import run_request
from pipm.store.paths import environment_path, store_path

TYPE_CHECKING = False  # typing's takes its import

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.cli.output import Output
    from pipm.context.progress import Progress

_NOT_FOUND = 127
"""What shells say of a program that is not there."""
_VALUES = {"--lock": "", "--env": "-e", "--with": "-w", "--python": "-p", "--store": "", "--color": ""}
_FLAGS = {"--no-lock": "", "--refresh": "", "--script": "", "--quiet": "-q", "--verbose": "-v", "--json": ""}
_MANY = ("--env", "--with")


class RunOptions:
    """The command line of `pipm run`, before the program's own."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self.values: dict[str, list[str]] = {name: [] for name in _VALUES}
        self.flags: list[str] = []

    def one(self, name: str) -> str | None:
        """The value of an option that is given once."""
        return self.values[name][-1] if self.values[name] else None


def start_run(arguments: list[str]) -> int:
    """Do what ``run [OPTION…] [--] CMD…`` asks for; returns only where that fails."""
    options = RunOptions()
    try:
        return run_program(None, options, parse_run_options(arguments[1:], options))
    except PipmError as error:
        _output(options).error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code


def run_program(output: Output | None, options: RunOptions, command: list[str]) -> int:
    """Become the program *command*, in the environment that is meant; no *output*: that of the options."""

    def talk() -> Output:
        return output or _output(options)

    if not command:
        raise UsageError("Nothing to run", hint="pipm run -- python app.py")
    store = store_path(options.one("--store"))
    below = tuple(_existing(text) for text in options.values["--env"])
    script = _script(command[0], options)
    for path in below:
        from pipm.cli.follow_lock import sync_if_lock_changed  # noqa: PLC0415 - environments of one's own follow a lock

        sync_if_lock_changed(talk, store, path)
    request = run_request(
        store,
        lock=options.one("--lock"),
        search="--no-lock" not in options.flags,
        specs=options.values["--with"],
        script=script,
        below=below,
        python=options.one("--python"),
        refresh="--refresh" in options.flags,
    )
    if request is None:
        path, below = below[0], ()
    else:

        def progress() -> Progress:
            from pipm.cli.terminal_progress import progress_for  # noqa: PLC0415 - a second run needs none

            return progress_for(talk())

        path = environment_for(request, progress)
    return _become(talk, path, below, ["python", *command] if script else command)


def _script(word: str, options: RunOptions) -> str:
    """The absolute path of the script that *word* names; empty where it is a program."""
    if "--script" in options.flags and not os.path.isfile(word):
        raise UsageError(f"There is no script {word}", hint="pipm run --script FILE")
    if "--script" in options.flags or (word.endswith(".py") and os.path.isfile(word)):
        return os.path.abspath(word)
    return ""


def _existing(text: str) -> str:
    """The environment that *text* (a folder, or @NAME) means, by its real path."""
    path = os.path.realpath(environment_path(text))
    if os.access(f"{path}/bin/python", os.X_OK) and os.path.isfile(f"{path}/pyvenv.cfg"):
        check_runnable(f"{path}/bin/python")
        return path
    if text.startswith("@") and not os.path.isdir(path):
        raise UsageError(f"There is no environment {text}", hint=f"make it: pipm venv {text} --lock LOCK")
    from pipm.env.environment import load_environment  # noqa: PLC0415 - it says what is wrong

    environment = load_environment(text if not text.startswith("@") else path)
    if environment.interpreter is None:
        raise UsageError(f"{environment.path} has no interpreter that runs", hint="make it anew")
    check_runnable(environment.interpreter)
    return environment.path


def _become(talk: Callable[[], Output], path: str, below: tuple[str, ...], command: list[str]) -> int:
    python = f"{path}/bin/python"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    environ["VIRTUAL_ENV"] = path
    programs = [f"{one}/bin" for one in (path, *below)]
    environ["PATH"] = os.pathsep.join([*programs, environ.get("PATH", os.defpath)])
    program = python if command[0] == "python" else which(command[0], environ["PATH"])
    if program is None:
        hint = f"those of its environment are in {' and '.join(programs)}"
        talk().error(UsageError(f"There is no program {command[0]}", hint=hint))
        return _NOT_FOUND
    arguments = [python, *command[1:]] if program == python else command
    try:
        os.execve(program, arguments, environ)  # noqa: S606 - no shell between: that is what we want
    except OSError as error:
        from pipm.fs.os_errors import explain_os_error  # noqa: PLC0415 - ends the run

        raise explain_os_error(error, f"run {program}") from error


def parse_run_options(arguments: list[str], options: RunOptions) -> list[str]:
    """Note the *options*, which end at the first word that is none, or at ``--``; returns the program's."""
    short = {letter: name for name, letter in (*_VALUES.items(), *_FLAGS.items()) if letter}
    words = list(arguments)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        name = short.get(name, name)
        if name in _FLAGS and not equals:
            options.flags.append(name)
            continue
        if name not in _VALUES:
            raise UsageError(
                f"pipm run has no option {name}", hint="CMD's options stand behind it; pipm run -h"
            )
        if not equals:
            if not words:
                raise UsageError(f"{name} needs a value", hint="pipm run -h")
            value = words.pop(0)
        if options.values[name] and name not in _MANY:
            raise UsageError(f"{name} stands there twice", hint="pipm run -h")
        options.values[name].append(value)
    return words


def _output(options: RunOptions) -> Output:
    from pipm.cli.output import Output as Talking  # noqa: PLC0415 - only who has to say something needs it

    return Talking(
        quiet=options.flags.count("--quiet"),
        verbose="--verbose" in options.flags,
        json="--json" in options.flags,
        color=options.one("--color") or "auto",
    )
