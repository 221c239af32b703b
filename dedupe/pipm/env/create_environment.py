"""Making environments as ``python -m venv`` does."""

from __future__ import annotations

import os
from functools import partial

from pipm.env.environment import Environment, is_half_made, load_environment
from pipm.env.permission import check_runnable
from pipm.env.venv_template import create_from_template
from pipm.errors import InterpreterError, UsageError
from pipm.fs.durability import sync_tree
from pipm.fs.removal import clear_folder, remove_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.env.base_interpreter import BaseInterpreter


def create_environment(
    path: str, interpreter: BaseInterpreter, meanwhile: Callable[[], None] = lambda: None
) -> Environment:
    """Make an environment without pip at *path*, as ``python -m venv --without-pip`` does.

    After a power cut it is either complete or not an environment; the caller syncs the file system for its
    name. *meanwhile* may be called during a wait for the disk. Raises UsageError if *path* is something else,
    and InterpreterError if venv fails; then no file of it remains.
    """
    real = os.path.realpath(path)
    _check_place(path, real)
    check_runnable(f"{real}/bin/python")  # root must not use it in another user's folder
    if interpreter.venv is None:
        raise InterpreterError(f"{interpreter.path} has no module venv", hint=_venv_package(interpreter))
    was_there = os.path.isdir(real)
    try:
        if not create_from_template(real, interpreter, partial(_run_venv, interpreter), meanwhile):
            _run_venv(interpreter, real)
            sync_tree(real)
        return load_environment(real)
    except BaseException:
        if not was_there and os.path.isdir(real):
            remove_folder(real)
        raise


def _run_venv(interpreter: BaseInterpreter, path: str) -> None:
    _run([interpreter.path, "-I", "-m", "venv", "--without-pip", path], f"make {path}")


def seed_pip(environment: Environment, interpreter: BaseInterpreter) -> None:
    """Install the interpreter's own pip into *environment* by ensurepip; may raise InterpreterError."""
    if not interpreter.has_ensurepip:
        raise InterpreterError(f"{interpreter.path} has no module ensurepip", hint=_venv_package(interpreter))
    python = environment.interpreter
    assert python is not None
    command = [python, "-I", "-m", "ensurepip", "--upgrade", "--default-pip"]
    _run(command, f"install pip into {environment.path}")


def _check_place(path: str, real: str) -> None:
    if not os.path.lexists(real):
        return
    if not os.path.isdir(real):
        raise UsageError(f"{path} is not a folder", hint="name a new one")
    if is_half_made(real):
        clear_folder(real)
        return
    if os.path.isfile(f"{real}/pyvenv.cfg"):
        raise UsageError(
            f"{path} is already an environment",
            hint=f"`pipm adopt --wrap-pip {path}` makes it share its files; or name a new folder",
        )
    if any(names for _, _, names in os.walk(real)):  # a killed venv leaves empty folders
        raise UsageError(f"{path} is not empty", hint="name a new or empty folder")


def _run(command: list[str], what: str) -> None:
    """Run *command*; raise InterpreterError with the last line of its output if it fails to do *what*."""
    # ensurepip's pip must see neither another interpreter's settings nor a user's pip configuration.
    import subprocess  # noqa: PLC0415 - a template does not need it

    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise InterpreterError(
            f"Cannot run {command[0]}: {error.strerror}", hint="name another with --python"
        ) from error
    if done.returncode:
        lines = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InterpreterError(f"Cannot {what}: {lines[-1]}", hint=f"try it yourself: {' '.join(command)}")


def _venv_package(interpreter: BaseInterpreter) -> str:
    major, minor, _ = interpreter.version
    return f"Debian and Ubuntu have it in a package of its own: apt install python{major}.{minor}-venv"
