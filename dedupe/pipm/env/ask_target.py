"""Asking an environment's interpreter for its markers (PEP 508) and wheel tags (PEP 425)."""

from __future__ import annotations

import os
import sys
from functools import cache

import packaging

from pipm.core.target import Target
from pipm.env.interpreter_cache import ask_json, cached_answer
from pipm.env.permission import check_runnable
from pipm.errors import InterpreterError

_QUESTION = """\
import sys
from importlib.util import module_from_spec, spec_from_file_location
folder = sys.argv[1]
place = spec_from_file_location("packaging", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["packaging"] = module_from_spec(place)
place.loader.exec_module(sys.modules["packaging"])
import json
from packaging.markers import default_environment
from packaging.tags import sys_tags
print(json.dumps([default_environment(), [str(tag) for tag in sys_tags()]]))
"""
"""The question imports pipm's copy of packaging, and no other module of its folder."""

_OLDEST = "3.9"


def ask_target(python: str) -> Target:
    """Return markers and tags of the interpreter at *python*; it runs at most once in each process.

    For a virtual environment its base interpreter runs, because markers and tags are the same. Raises
    InterpreterError if it does not run, must not be run, or is older than 3.9.
    """
    check_runnable(python)
    real = os.path.realpath(python)
    try:
        status = os.stat(real)
    except OSError as error:
        raise InterpreterError(f"There is no interpreter {python}", hint=_HINT) from error
    return _asked(real, status.st_mtime_ns, status.st_size)


_HINT = "the environment's base may be gone; `pipm venv` makes it again"


@cache
def _asked(real: str, _changed: int, _size: int) -> Target:
    question = f"target {packaging.__version__}"
    markers, tags = cached_answer(real, question, lambda: _answer(real))
    return Target(markers=markers, tags=tuple(tags))


def _answer(real: str) -> object:
    if real == os.path.realpath(sys.executable):
        own = own_target()
        return [own.markers, own.tags]
    import subprocess  # noqa: PLC0415 - most answers are cached

    folder = os.path.dirname(os.path.abspath(packaging.__file__))
    try:
        markers, tags = ask_json(real, "-I", "-S", "-B", "-c", _QUESTION, folder)
        return [dict(markers), list(tags)]
    except subprocess.CalledProcessError as error:
        raise InterpreterError(
            f"{real} cannot list the wheels that it supports{_last_line(error.stderr)}",
            hint=f"environments have Python {_OLDEST} or newer",
        ) from error
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
        raise InterpreterError(f"{real} is not a Python interpreter that runs", hint=_HINT) from error


def own_target() -> Target:
    """Return markers and tags of the interpreter that runs pipm."""
    from packaging.markers import default_environment  # noqa: PLC0415 - it takes 15 ms
    from packaging.tags import sys_tags  # noqa: PLC0415

    markers = {key: str(value) for key, value in default_environment().items()}
    return Target(markers=markers, tags=tuple(map(str, sys_tags())))


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
