"""`pipm run`: running a program with the distributions of a lock.

A warm run imports this: nothing here may import what takes milliseconds.
"""

from __future__ import annotations

import os

from pipm.cli.arguments import parse_words
from pipm.cli.option_table import COMMON, RUN, RunArguments
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
"""The exit code of shells for a missing program."""


def start_run(words: list[str]) -> int | None:
    """Run ``run [OPTION…] [--] CMD…``; return an error's exit code, None if typer must read the words."""
    parsed = parse_words(words, "run", COMMON, RUN, program=True)
    if parsed is None:
        return None
    settings, arguments = parsed

    def talk() -> Output:
        from pipm.cli.output import Output as Talking  # noqa: PLC0415 - most runs say nothing

        return Talking(**{name: value for name, value in settings.items() if name != "store"})

    try:
        return run_program(talk, store_path(settings.get("store")), RunArguments(arguments))
    except PipmError as error:
        talk().error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code


def run_program(talk: Callable[[], Output], store: str, arguments: RunArguments) -> int:
    """Replace this process by the program of *arguments*; *talk* makes the output for messages."""
    command = arguments.program
    if not command:
        raise UsageError("Nothing to run", hint="pipm run -- python app.py")
    below = tuple(_existing(text) for text in arguments.environments or ())
    script = _script(command[0], arguments)
    for path in below:
        from pipm.cli.follow_lock import sync_if_lock_changed  # noqa: PLC0415 - environments of one's own follow a lock

        sync_if_lock_changed(talk, store, path)
    request = run_request(
        store,
        lock=arguments.lock,
        search=not arguments.no_lock,
        specs=arguments.specs or (),
        script=script,
        below=below,
        python=arguments.python,
        refresh=arguments.refresh,
    )
    if request is None:
        path, below = below[0], ()
    else:

        def progress() -> Progress:
            from pipm.cli.terminal_progress import progress_for  # noqa: PLC0415 - a second run needs none

            return progress_for(talk())

        def look(path: str) -> None:
            from pipm.cli.changed_files_output import changes_below, warn_of_changes  # noqa: PLC0415 - once a day

            try:
                warn_of_changes(talk(), changes_below(store, path))
            except PipmError:  # the program can run even if the store cannot be read
                return

        path = environment_for(request, progress, look)
    return _become(talk, path, below, ["python", *command] if script else command)


def _script(word: str, arguments: RunArguments) -> str:
    """Return the absolute path of the script that *word* names, or an empty text for a program."""
    if arguments.script and not os.path.isfile(word):
        raise UsageError(f"There is no script {word}", hint="pipm run --script FILE")
    if arguments.script or (word.endswith(".py") and os.path.isfile(word)):
        return os.path.abspath(word)
    return ""


def _existing(text: str) -> str:
    """Return the environment that *text* (a folder, or @NAME) means, by its real path."""
    path = os.path.realpath(environment_path(text))
    if os.access(f"{path}/bin/python", os.X_OK) and os.path.isfile(f"{path}/pyvenv.cfg"):
        check_runnable(f"{path}/bin/python")
        return path
    if text.startswith("@") and not os.path.isdir(path):
        raise UsageError(f"There is no environment {text}", hint=f"make it: pipm venv {text} --lock LOCK")
    from pipm.cli.named_environments import existing_environment  # noqa: PLC0415 - most are named themselves
    from pipm.env.environment import load_environment, require_venv  # noqa: PLC0415 - only for its error

    environment = load_environment(existing_environment(text))
    if not environment.is_prefix:
        require_venv(environment, "pipm run")
    if environment.interpreter is None:
        raise UsageError(f"{environment.path} has no interpreter that runs", hint="create it again")
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
