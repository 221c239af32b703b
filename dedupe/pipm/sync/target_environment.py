"""The environment of a sync, existing or to be created."""

from __future__ import annotations

import os

from pipm.context.environment_lock import checked_environment
from pipm.core.named_tuple import NamedTuple
from pipm.core.scheme import Scheme
from pipm.env.environment import is_half_made
from pipm.env.interpreter import ask_interpreter
from pipm.env.permission import check_runnable
from pipm.env.places import version_in_name
from pipm.errors import InterpreterError, UsageError
from pipm.fs.flock import locked_folder
from pipm.fs.opened import opened_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.env.base_interpreter import BaseInterpreter
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter


class TargetEnvironment(NamedTuple):
    """The place of an environment; either ``environment`` or ``base`` (of a new one) is None."""

    path: str
    environment: Environment | None
    base: BaseInterpreter | None

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        if self.environment is None:
            assert self.base is not None
            return self.base.path
        return interpreter_of_target(self.environment)


def find_target(store_path: str, path: str, python: str | None) -> TargetEnvironment:
    """Return the target at *path*; *python* (a version or path) is for a new environment."""
    real = os.path.realpath(path)
    if os.path.lexists(f"{real}/pyvenv.cfg") and not is_half_made(real):
        environment = checked_environment(store_path, path)
        if python is not None:
            _check_version(environment, python)
        return TargetEnvironment(path=path, environment=environment, base=None)
    if f"{real}/".startswith(f"{store_path}/"):
        raise UsageError(f"{path} is inside the store", hint="name a folder outside of it")
    from pipm.env.base_interpreter import find_interpreter  # noqa: PLC0415 - only a new environment needs it

    return TargetEnvironment(path=path, environment=None, base=find_interpreter(python))


def create_if_missing(
    destination: TargetEnvironment, store_path: str, meanwhile: Callable[[], None]
) -> tuple[Environment, bool]:
    """Return the environment of *destination*, and True if it was created now.

    *meanwhile* may be called during a sync of the file system.
    """
    if destination.environment is not None:
        return destination.environment, False
    assert destination.base is not None
    real = os.path.realpath(destination.path)
    above = os.path.dirname(real)
    if not os.path.isdir(above):
        raise UsageError(f"There is no folder {above}", hint="create it first")
    with opened_folder(above) as parent, locked_folder(parent, what=above):  # another sync may create it now
        if os.path.lexists(f"{real}/pyvenv.cfg") and not is_half_made(real):
            return checked_environment(store_path, destination.path), False
        from pipm.env.create_environment import create_environment  # noqa: PLC0415 - likewise

        create_environment(real, destination.base, meanwhile)
    return checked_environment(store_path, destination.path), True


def interpreter_of_target(environment: Environment) -> str:
    """Return the interpreter of *environment*; raise InterpreterError if it is missing or must not be run."""
    python = environment.interpreter
    if python is None:
        raise InterpreterError(
            f"The interpreter of {environment.path} does not exist any more",
            hint=f"remove that folder; `pipm sync --env {environment.path}` creates it again",
        )
    check_runnable(python)
    return python


def scheme_of(environment: Environment, *, compiled: bool) -> tuple[Scheme, Interpreter | None]:
    """Return the scheme of *environment*, and its interpreter if it shall have bytecode."""
    python = interpreter_of_target(environment)
    interpreter = ask_interpreter(python) if compiled else None
    release = ".".join(environment.python.split(".")[:2])
    named = next(filter(None, map(version_in_name, environment.site.split("/"))), release)
    if "." in named and named != release:
        raise InterpreterError(
            f"The interpreter of {environment.path} is Python {release}, which has no site-packages there",
            hint=f"python{release} -m venv --upgrade {environment.path}",
        )
    scheme = Scheme(
        site=environment.site,
        python=os.path.basename(python) if environment.relocatable else python,
        cache_tag="" if interpreter is None else interpreter.cache_tag,
    )
    return scheme, interpreter


def _check_version(environment: Environment, python: str) -> None:
    from pipm.env.base_interpreter import find_interpreter  # noqa: PLC0415 - only --python needs it

    base = find_interpreter(python)
    wanted, there = ".".join(map(str, base.version[:2])), ".".join(environment.python.split(".")[:2])
    if wanted != there:
        raise UsageError(
            f"{environment.path} is for Python {there}, not {wanted}",
            hint="remove it, or name another one with --env",
        )
