"""Child processes: clean variables, captured output, an interpreter for a normal user."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

# Another checkout can be tested with these tests: PIPM_TEST_ROOT names it.
ROOT = os.environ.get("PIPM_TEST_ROOT") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
SOURCES = os.path.join(ROOT, "dedupe")
"""The directory that holds the import package."""
NORMAL_USER = 12345

_DROPPED = (
    "PYTHONDONTWRITEBYTECODE",  # with it no interpreter writes the bytecode that we test
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "PYTHONWARNINGS",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "COLUMNS",
    "FORCE_COLOR",
    "XDG_DATA_HOME",
)


def clean_environ(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the caller's environment variables without those that would falsify a test."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _DROPPED and not name.startswith(("PIPM_", "UV_", "POETRY_", "PDM_"))
    }
    return kept | {"NO_COLOR": "1"} | dict(changes or {})


def run(
    *command: str,
    cwd: str | None = None,
    environ: Mapping[str, str] | None = None,
    user: int | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and capture its output; the caller checks the exit code."""
    return subprocess.run(
        command,
        cwd=cwd or ROOT,
        env=clean_environ(environ),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        text=True,
        errors="backslashreplace",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def check(
    *command: str,
    cwd: str | None = None,
    environ: Mapping[str, str] | None = None,
    user: int | None = None,
    timeout: float = 600,
) -> str:
    """Run a program that must succeed and return its standard output."""
    done = run(*command, cwd=cwd, environ=environ, user=user, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def interpreter_for(user: int | None) -> tuple[str, dict[str, str]]:
    """Return an interpreter that this user may execute, and what it needs to import pipm.

    A root's own interpreter often lies below a closed home directory; then the system's
    interpreter of the same version borrows the libraries of ours.
    """
    if user is None:
        return sys.executable, {"PYTHONPATH": SOURCES}
    libraries = [SOURCES, *(entry for entry in sys.path if entry.endswith("site-packages"))]
    variables = {"PYTHONPATH": os.pathsep.join(libraries)}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    probe = f"import sys, pipm; assert '%d.%d' % sys.version_info[:2] == '{version}'"
    for candidate in (
        sys.executable,
        f"/usr/bin/python{version}",
        f"/usr/local/bin/python{version}",
    ):
        try:
            if run(candidate, "-c", probe, environ=variables, user=user).returncode == 0:
                return candidate, variables
        except OSError:
            continue
    pytest.skip(f"no Python {version} that an unprivileged user may execute")


def needs_root() -> None:
    """Skip the test where the caller can't change its user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
