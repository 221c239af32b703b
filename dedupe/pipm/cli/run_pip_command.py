"""`pipm pip` and `pipm install`: running an environment's pip, with few imports."""

from __future__ import annotations

import os
import subprocess

from pipm.cli.named_environments import existing_environment
from pipm.cli.output import Output
from pipm.env.environment import Environment, load_environment, require_venv
from pipm.env.permission import check_runnable
from pipm.errors import InterruptedRunError, PipmError, UsageError
from pipm.pip_wrapper.install_wrapper import is_wrapped
from pipm.store.paths import store_path

_CHANGING = frozenset({"install", "uninstall"})


def start_pip(arguments: list[str]) -> int:
    """Run `pipm pip ARGS…` or `pipm install ARGS…`; return the exit code."""
    output = Output()
    command = arguments[1:] if arguments[0] == "pip" else arguments
    try:
        return run_pip(output, store_path(None), command)
    except PipmError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code


def run_pip(output: Output, store: str, arguments: list[str]) -> int:
    """Run pip in the environment that *arguments* name, and return pip's exit code.

    A wrapped pip replaces this process; otherwise the environment is adopted afterwards.
    """
    path, rest = _environment(arguments)
    environment = load_environment(path)
    if not environment.is_prefix:
        require_venv(environment, "pipm pip")
    python = environment.interpreter
    if python is None:
        raise UsageError(f"{path} has no interpreter that runs", hint="create the environment again")
    check_runnable(python)
    command = [*_pip_of(environment, python), *rest]
    if is_wrapped(environment) or not _CHANGING.intersection(rest):
        os.execv(command[0], command)  # noqa: S606 - no shell between: that is what we want
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        _share(output, store, path)
    return code


def share_after_pip_command(store: str, environment: str | None, wheels: list[str]) -> None:
    """Share what a wrapped pip wrote into *environment*, and index *wheels*: ``PATH=NAME`` of each."""
    from pipm.venv.wrap_pip import share_after_pip

    archives = [(path, name) for path, _, name in (wheel.partition("=") for wheel in wheels)]
    share_after_pip(store, environment, archives)


def _environment(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the environment of ``--env DIR``, else the active one, else .venv; and the other arguments."""
    rest: list[str] = []
    path = ""
    words = iter(arguments)
    for word in words:
        if word == "--env":
            path = next(words, "")
            if not path:
                raise UsageError("--env needs a folder", hint="pipm pip install --env DIR SPEC")
        elif word.startswith("--env="):
            path = word.removeprefix("--env=")
        else:
            rest.append(word)
    return existing_environment(path), rest


def _pip_of(environment: Environment, python: str) -> tuple[str, ...]:
    """Return the environment's own pip; if it has none (uv, sync), the pip installed beside pipm."""
    # pip's metadata tells: with the finder the modules are in the store.
    names = [name for site in environment.sites for name in os.listdir(f"{environment.path}/{site}")]
    if any(name.startswith("pip-") and name.endswith(".dist-info") for name in names):
        return (python, "-I", "-m", "pip")
    from pipm.env.ask_target import ask_target
    from pipm.wheel.run_pip import pip_into

    return pip_into(python, ask_target(python))


def _share(output: Output, store: str, path: str) -> None:
    from pipm.venv.wrap_pip import share_after_pip

    try:
        share_after_pip(store, path, ())
    except PipmError as error:
        output.note("warning", f"pipm could not share what pip installed: {error.message}")
    else:
        output.note("hint", f"`pipm adopt --wrap-pip {path}` lets its pip take files from the store")
