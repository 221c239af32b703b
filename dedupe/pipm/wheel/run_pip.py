"""Choosing and running pip."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import util
from shutil import which
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from pipm.env.permission import refusal
from pipm.errors import FetchError
from pipm.wheel.settings import environ_for_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipm.core.target import Target

_TICK = 0.05
OWN_PIP = (sys.executable, "-P", "-m", "pip")
"""pip of pipm's interpreter. Without -P (or -I) a module in the current folder would replace pip's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipCommand:
    """pip for one interpreter: ``command`` runs it with the variables ``environ``.

    A pip that does not run on that interpreter cannot build for it; ``foreign`` are then the options of
    `pip download` for the interpreter's wheels. ``python`` is the interpreter's version, for messages.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    foreign: tuple[str, ...] = ()
    python: str = ""

    @property
    def index(self) -> str:
        """The index in pip's settings, for messages."""
        return self.environ.get("PIP_INDEX_URL", "pip's default index")

    def run(self, arguments: list[str], folder: str, stopping: Callable[[], bool]) -> tuple[int, str]:
        """Run pip with *arguments*; return exit code and output. Terminate it when *stopping* returns True.

        Its temporary files are in *folder*, which the caller removes: a killed pip leaves them.
        """
        return run_to_end([*self.command, *arguments], {**self.environ, "TMPDIR": folder}, stopping=stopping)


def run_to_end(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    cwd: str | None = None,
    stopping: Callable[[], bool],
) -> tuple[int, str]:
    """Run *command*; return exit code and output. Terminate it when *stopping* returns True."""
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that only pipm gets Ctrl-C
    )
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=_TICK)
            except subprocess.TimeoutExpired:
                if stopping():
                    _signal(process, signal.SIGTERM)
            else:
                return process.returncode, output
    finally:
        if process.poll() is None:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """Signal *process*, which leads a session, and the programs that it runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def find_pip(python: str, target: Target, *, resolving: bool = False) -> PipCommand:
    """Return a pip that works for the environment's interpreter *python*; raise FetchError if there is none.

    pipm's own pip is preferred; it runs on the other interpreter by ``--python``. The next are the
    environment's pip, the pip of its ``ensurepip``, and one on PATH. With *resolving*, pip's settings for
    choosing versions are used, too.
    """
    own = _own_pip()
    foreign: tuple[str, ...] = ()
    if own is not None and os.path.realpath(python) == os.path.realpath(sys.executable):
        command = own
    elif own is not None and _own_runs_on(target):
        command = (*own, "--python", python)
    elif _runs(python, "-I", "-m", "pip"):
        command = (python, "-I", "-m", "pip")
    elif own is not None:
        command, foreign = own, _foreign_options(target)
    else:
        command = _other_pip(python)
    environ = environ_for_pip(python, resolving=resolving)
    return PipCommand(command=command, environ=environ, foreign=foreign, python=target.python)


def pip_into(python: str, target: Target) -> tuple[str, ...]:
    """Return a pip command that changes the environment of *python*, which has no pip itself.

    Raises FetchError if there is none.
    """
    own = _own_pip()
    if own is not None and _own_runs_on(target):
        return (*own, "--python", python)
    return _other_pip(python)


def _own_pip() -> tuple[str, ...] | None:
    """Return pip of pipm's interpreter, or None."""
    return OWN_PIP if util.find_spec("pip") is not None else None


def _other_pip(python: str) -> tuple[str, ...]:
    """Return a pip for an interpreter without pip: the wheel of its ``ensurepip``, or one on PATH."""
    done = subprocess.run([python, "-I", "-c", _BUNDLED], capture_output=True, check=False, text=True)
    for wheel in done.stdout.splitlines():
        if _runs(python, "-I", f"{wheel}/pip"):
            return (python, f"{wheel}/pip")
    for name in ("pip3", "pip"):
        path = which(name)
        # An old pip may not run on a newer Python, so try it; as root only if no other user can change it.
        if path is not None and refusal(path) is None and _runs(path, "--python", python):
            return (path, "--python", python)
    raise FetchError(
        f"No pip works with {python}: neither that of pipm's interpreter nor one of the environment",
        hint=f"run {python} -m ensurepip, or install a newer pip beside pipm",
    )


_BUNDLED = """
import ensurepip, glob, os, sysconfig
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")]
folders += filter(None, [sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels"])
for folder in folders:
    print(*sorted(glob.glob(os.path.join(glob.escape(folder), "pip-*.whl")), reverse=True), sep="\\n")
"""
"""Prints the paths of the wheels that ensurepip installs; Linux distributions keep them elsewhere."""


def _own_runs_on(target: Target) -> bool:
    version = target.markers["python_full_version"]
    return SpecifierSet(_oldest_for_own()).contains(version, prereleases=True)


@cache
def _oldest_for_own() -> str:
    from importlib import metadata  # noqa: PLC0415 - loads the email package, which builds do not need

    try:
        return metadata.metadata("pip")["Requires-Python"] or ""
    except (metadata.PackageNotFoundError, KeyError):
        return ">=3.10"  # the requirement of pip 26.0


@cache
def _runs(*command: str) -> bool:
    """Return True if a command of pip runs at all."""
    done = subprocess.run([*command, "--version"], capture_output=True, check=False)
    return done.returncode == 0


def _foreign_options(target: Target) -> tuple[str, ...]:
    """Return the options of `pip download` for an interpreter with these tags."""
    parts = [tag.split("-") for tag in target.tags]
    abis = dict.fromkeys(abi for _, abi, _ in parts)
    platforms = dict.fromkeys(platform for _, _, platform in parts if platform != "any")
    options = ["--only-binary", ":all:", "--implementation", parts[0][0][:2]]
    options += ["--python-version", target.markers["python_full_version"]]
    options += [option for abi in abis for option in ("--abi", abi)]
    return (*options, *(option for platform in platforms for option in ("--platform", platform)))
