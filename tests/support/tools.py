"""The installers and interpreters that this machine has."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess
import sys

import pytest

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def find_tool(name: str) -> str:
    """Return a program's path; skip the test where it is missing.

    `PIPM_TEST_TOOLS` names a folder of programs (scripts/test makes one with uv, Poetry, PDM).
    """
    folders = [os.environ.get("PIPM_TEST_TOOLS", ""), os.path.dirname(sys.executable)]
    path = os.pathsep.join([*filter(None, folders), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def _works(python: str, version: str) -> bool:
    probe = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


@functools.cache
def find_interpreter(version: str) -> str | None:
    """Return a CPython of this version which can make an environment with pip."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    managed = os.path.expanduser("~/.local/share/uv/python")
    candidates = [
        os.path.realpath(sys.executable),
        *sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python{version}")),
        *sorted(glob.glob(f"{managed}/cpython-{version}.*/bin/python{version}")),
        shutil.which(f"python{version}") or "",
    ]
    return next((path for path in candidates if path and _works(path, version)), None)


def interpreter(version: str) -> str:
    """Return a CPython of this version; skip the test where there is none."""
    found = find_interpreter(version)
    if found is None:
        pytest.skip(f"no CPython {version} here")
    return found


@functools.cache
def find_pypy() -> tuple[str, str] | None:
    """Return PyPy and its version."""
    found = shutil.which("pypy3")
    if not found:
        return None
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([found, "-c", probe], capture_output=True, text=True, check=False)
    return (found, done.stdout.strip()) if done.returncode == 0 else None


def any_interpreter(version: str) -> str:
    """Return a CPython of this version, or PyPy (``pypy3.9``); skip the test where there is none."""
    if not version.startswith("pypy"):
        return interpreter(version)
    path, found = pypy()
    if found != version.removeprefix("pypy"):
        pytest.skip(f"no {version} here")
    return path


def pypy() -> tuple[str, str]:
    """Return PyPy and its version; skip the test where there is none."""
    found = find_pypy()
    if found is None:
        pytest.skip("no PyPy here")
    return found
