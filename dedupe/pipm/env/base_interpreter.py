"""Finding interpreters that can make environments."""

from __future__ import annotations

import os
import re
import sys

from pipm.core.named_tuple import NamedTuple
from pipm.env.find_program import which
from pipm.env.interpreter_cache import ask_json_or_none, cached_answer
from pipm.env.permission import check_runnable, refusal
from pipm.env.pyenv_shims import shim_target
from pipm.errors import InterpreterError
from pipm.fs.home import data_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_QUESTION = (
    "import sys, json, importlib.util as u;"
    "print(json.dumps([sys.implementation.name, list(sys.version_info[:3]),"
    "getattr(sys, '_base_executable', None) or sys.executable,"
    "getattr(u.find_spec('venv'), 'origin', None), u.find_spec('ensurepip') is not None]))"
)
_OLDEST = (3, 9)
_SPELLING = re.compile(r"(?:(python|cpython|pypy|py)-?)?(?:(\d)(?:\.?(\d+)(?:\.(\d+))?)?)?", re.IGNORECASE)
"""``3.12``, ``3.12.1``, ``python3.12``, ``py312``, ``pypy3.9``, ``pypy``."""


class BaseInterpreter(NamedTuple):
    """An interpreter that can make environments.

    ``venv`` is the path of its module venv; None if it lacks the module.
    """

    path: str
    implementation: str
    version: tuple[int, int, int]
    venv: str | None
    has_ensurepip: bool

    @property
    def shown(self) -> str:
        """Its name in messages: ``Python 3.12.1``."""
        name = {"cpython": "Python", "pypy": "PyPy for Python"}.get(self.implementation, self.implementation)
        return f"{name} {self.shown_version}"

    @property
    def shown_version(self) -> str:
        """``3.12.1``."""
        return ".".join(map(str, self.version))


class _InterpreterRequest(NamedTuple):
    """A parsed request: an implementation, and a version or its beginning."""

    implementation: str
    version: tuple[int, ...]

    def fits(self, found: BaseInterpreter) -> bool:
        return (
            found.implementation == self.implementation
            and found.version[: len(self.version)] == self.version
            and found.version >= _OLDEST
        )


def find_interpreter(wanted: str | None) -> BaseInterpreter:
    """Find the interpreter *wanted*: a path, a program on PATH, or a version like ``3.12`` or ``pypy3.9``.

    None means the python3 of PATH. A version is searched on PATH, then in pyenv and among uv's interpreters;
    there the newest patch release is chosen. Raises InterpreterError.
    """
    if wanted is None:
        return _default()
    if "/" in wanted or os.path.isfile(wanted):
        return _named(wanted)
    spelling = _parse(wanted)
    if spelling is None:
        path = which(wanted)
        if path is None:
            raise InterpreterError(f"There is no interpreter {wanted} on PATH", hint=_HINT)
        return _named(path)
    if spelling.version and spelling.version < _OLDEST[: len(spelling.version)]:
        raise InterpreterError(f"Python {wanted} is too old", hint="environments have Python 3.9 or newer")
    for path in _candidates(spelling):
        found = _ask(path)
        if found is not None and spelling.fits(found):
            return found
    raise InterpreterError(f"There is no Python {wanted} on PATH, in pyenv or among uv's", hint=_HINT)


def find_fitting(wanted: str | None, requires: str, what: str) -> BaseInterpreter:
    """Find the interpreter *wanted*; if it is None, one in the range *requires* (which *what* requires).

    The python3 of PATH comes first, then the newest interpreter. Raises InterpreterError.
    """
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - few commands have a range

    versions = SpecifierSet(requires, prereleases=True)
    found = find_interpreter(wanted)
    if found.shown_version in versions:
        return found
    if wanted is None:
        for path in _candidates(_InterpreterRequest(implementation="cpython", version=(3,))):
            other = _ask(path)
            if other is not None and other.version >= _OLDEST and other.shown_version in versions:
                return other
        raise InterpreterError(f"No Python here is {requires}, as {what} requires", hint=_HINT)
    raise InterpreterError(
        f"{what} requires Python {requires}, not {found.shown_version}",
        hint="remove --python, or name another interpreter",
    )


_HINT = "name its path, or install it: `uv python install VERSION`, `pyenv install VERSION`"


def _parse(text: str) -> _InterpreterRequest | None:
    match = _SPELLING.fullmatch(text)
    if match is None or not text or text == "python":
        return None
    name, *numbers = match.groups()
    implementation = "pypy" if (name or "").lower() == "pypy" else "cpython"
    version = tuple(int(number) for number in numbers if number is not None)
    return _InterpreterRequest(implementation=implementation, version=version)


def _default() -> BaseInterpreter:
    for path in (which("python3"), which("python"), sys.executable):
        found = _ask(path) if path else None
        if found is not None and found.version >= _OLDEST:
            return found
    raise InterpreterError("There is no python3 on PATH", hint="name one: --python PATH")


def _named(path: str) -> BaseInterpreter:
    if not os.path.lexists(path):
        raise InterpreterError(f"There is no interpreter {path}", hint=_HINT)
    check_runnable(path)
    found = _ask(path)
    if found is None:
        raise InterpreterError(f"{path} is not a Python interpreter that runs", hint=_HINT)
    if found.version < _OLDEST:
        raise InterpreterError(
            f"{path} is {found.shown}, which is too old", hint="environments have Python 3.9 or newer"
        )
    return found


def _candidates(wanted: _InterpreterRequest) -> Iterator[str]:
    """Yield candidates: programs of PATH in its order, then pyenv's and uv's, newest first."""
    stem = "pypy" if wanted.implementation == "pypy" else "python"
    number = ".".join(map(str, wanted.version[:2]))
    for name in dict.fromkeys((f"{stem}{number}", f"{stem}3", stem)):
        path = which(name)
        if path is not None:
            yield path
    import glob  # noqa: PLC0415 - only a search by version needs it

    found = []
    for folder in _collections():
        found += glob.glob(f"{glob.escape(folder)}/*/bin/{stem}3")
    yield from sorted(found, key=_release, reverse=True)
    yield sys.executable


def _collections() -> list[str]:
    """Return the folders of pyenv and uv with one folder for each interpreter."""
    data = data_home()
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return [f"{pyenv}/versions", os.environ.get("UV_PYTHON_INSTALL_DIR") or f"{data}/uv/python"]


def _release(path: str) -> tuple[int, ...]:
    """Return the numbers in the name of the folder of *path*: ``cpython-3.12.11-linux…`` is (3, 12, 11)."""
    folder = os.path.basename(os.path.dirname(os.path.dirname(path)))
    match = re.search(r"\d+(\.\d+)+", folder)
    return tuple(map(int, match[0].split("."))) if match else ()


def _ask(path: str) -> BaseInterpreter | None:
    """Ask the interpreter at *path* about itself; None if it does not run or must not be run."""
    program = shim_target(path)
    if program is None or refusal(program) is not None:
        return None
    try:
        answer = cached_answer(program, "base", lambda: ask_json_or_none(program, "-I", "-c", _QUESTION))
        implementation, version, base, venv, has_ensurepip = answer
        return BaseInterpreter(
            path=base,
            implementation=implementation,
            version=tuple(version),
            venv=venv,
            has_ensurepip=has_ensurepip,
        )
    except (ValueError, TypeError):
        return None
