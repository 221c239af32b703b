"""The installers and interpreters of this machine."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import pwd
import shutil
import subprocess
import sys

import pytest

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


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


def _homes() -> list[str]:
    """Return patterns of the folders where pyenv, uv and conda keep interpreters.

    They are where the user's account says, whatever HOME is: tests run with another HOME, too.
    """
    homes = {os.path.expanduser("~"): None}
    with contextlib.suppress(KeyError):  # a container's user may have no account
        homes[pwd.getpwuid(os.getuid()).pw_dir] = None
    pyenvs = dict.fromkeys((os.environ.get("PYENV_ROOT", ""), *(f"{home}/.pyenv" for home in homes)))
    managed = (os.environ.get("UV_PYTHON_INSTALL_DIR", ""), *(f"{h}/.local/share/uv/python" for h in homes))
    condas = (f"{home}/{name}" for home in homes for name in ("miniconda3", "miniforge3", "anaconda3"))
    return [
        *(f"{folder}/versions/*" for folder in pyenvs if folder),
        *(f"{folder}/cpython-*" for folder in dict.fromkeys(managed) if folder),
        *(f"{folder}{part}" for folder in condas for part in ("", "/envs/*")),
    ]


@functools.cache
def find_interpreter(version: str) -> str | None:
    """Return a CPython of this version which can make an environment with pip."""
    candidates = [
        os.path.realpath(sys.executable),
        *(path for folder in _homes() for path in sorted(glob.glob(f"{folder}/bin/python{version}"))),
        shutil.which(f"python{version}") or "",
        f"/usr/bin/python{version}",
        f"/usr/local/bin/python{version}",
    ]
    return next((path for path in candidates if path and _works(path, version)), None)


def interpreter(version: str) -> str:
    """Return a CPython of this version; skip the test if there is none."""
    found = find_interpreter(version)
    if found is None:
        pytest.skip(f"no CPython {version} here")
    return found


def newest_interpreter() -> str:
    """Return the newest CPython; skip the test if there is none."""
    found = next(filter(None, map(find_interpreter, reversed(VERSIONS))), None)
    if found is None:
        pytest.skip("no CPython that makes environments here")
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
    """Return a CPython of this version, or PyPy (``pypy3.9``); skip the test if there is none."""
    if not version.startswith("pypy"):
        return interpreter(version)
    path, found = pypy()
    if found != version.removeprefix("pypy"):
        pytest.skip(f"no {version} here")
    return path


def pypy() -> tuple[str, str]:
    """Return PyPy and its version; skip the test if there is none."""
    found = find_pypy()
    if found is None:
        pytest.skip("no PyPy here")
    return found
