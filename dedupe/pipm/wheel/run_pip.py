"""Choosing and running pip."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from shutil import which
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from pipm.env.permission import refusal
from pipm.errors import FetchError
from pipm.wheel.settings import environ_for_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipm.core.target import Target

_TICK = 0.05
OWN_PIP = (sys.executable, "-P", "-m", "pip")
"""Of the interpreter that runs pipm. Without -P (or -I) a module in the current folder stands for pip's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipCommand:
    """pip for one interpreter: ``command`` runs it with the environment ``environ``.

    Where pip does not run on that interpreter it cannot build for it; ``foreign`` are the options by which
    `pip download` gets its wheels all the same. ``python`` is the interpreter's version, for messages.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    foreign: tuple[str, ...] = ()
    python: str = ""

    @property
    def index(self) -> str:
        """The index that pip's own settings name, for messages."""
        return self.environ.get("PIP_INDEX_URL", "pip's default index")

    def run(self, arguments: list[str], folder: str, stopping: Callable[[], bool]) -> tuple[int, str]:
        """Run pip with *arguments*; returns exit code and output. Ends it when *stopping* says so.

        Its temporary files lie in *folder*, which the caller removes: a pip that is killed leaves them.
        """
        process = subprocess.Popen(
            [*self.command, *arguments],
            env={**self.environ, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=_TICK)
                except subprocess.TimeoutExpired:
                    if stopping():
                        process.terminate()
                else:
                    return process.returncode, output
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def find_pip(python: str, target: Target, *, resolving: bool = False) -> PipCommand:
    """Choose the pip that works for the environment's interpreter *python*; raise FetchError without one.

    pipm's own first (its index, proxies and passwords are pip's configuration), which runs on the other
    interpreter by ``--python``; else the environment's own, that of its ``ensurepip``, or one on PATH that
    runs there. *resolving*: it shall choose versions, too, by the settings that are about those.
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
        command = _borrowed_pip(python)
    environ = environ_for_pip(command, resolving=resolving)
    return PipCommand(command=command, environ=environ, foreign=foreign, python=target.python)


def pip_into(python: str, target: Target) -> tuple[str, ...]:
    """Return a command of pip that changes the environment of *python*, which has no pip itself.

    Raises FetchError where there is none.
    """
    own = _own_pip()
    if own is not None and _own_runs_on(target):
        return (*own, "--python", python)
    return _borrowed_pip(python)


def _own_pip() -> tuple[str, ...] | None:
    """Pip of the interpreter that runs pipm."""
    return OWN_PIP if util.find_spec("pip") is not None else None


def _borrowed_pip(python: str) -> tuple[str, ...]:
    """Pip for an interpreter that has none: the wheel that its ``ensurepip`` brings, or one on PATH."""
    done = subprocess.run([python, "-I", "-c", _BUNDLED], capture_output=True, check=False, text=True)
    for wheel in done.stdout.splitlines():
        if _runs(python, "-I", f"{wheel}/pip"):
            return (python, f"{wheel}/pip")
    for name in ("pip3", "pip"):
        path = which(name)
        # An old pip does not run on every newer Python: it is tried; by root if nobody else can change it.
        if path is not None and refusal(path) is None and _runs(path, "--python", python):
            return (path, "--python", python)
    raise FetchError(
        f"No pip runs on {python}: neither pipm's interpreter nor the environment has one that does",
        hint=f"{python} -m ensurepip, or install a newer pip beside pipm",
    )


_BUNDLED = """
import ensurepip, glob, os, sysconfig
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")]
folders += filter(None, [sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels"])
for folder in folders:
    print(*sorted(glob.glob(os.path.join(glob.escape(folder), "pip-*.whl")), reverse=True), sep="\\n")
"""
"""Prints the paths of the wheels that ensurepip installs; distributions of Linux keep them elsewhere."""


def _own_runs_on(target: Target) -> bool:
    version = target.markers["python_full_version"]
    return SpecifierSet(_oldest_for_own()).contains(version, prereleases=True)


@cache
def _oldest_for_own() -> str:
    try:
        return metadata.metadata("pip")["Requires-Python"] or ""
    except (metadata.PackageNotFoundError, KeyError):
        return ">=3.10"  # as pip's since 26.0


@cache
def _runs(*command: str) -> bool:
    """Whether a command of pip runs at all."""
    done = subprocess.run([*command, "--version"], capture_output=True, check=False)
    return done.returncode == 0


def _foreign_options(target: Target) -> tuple[str, ...]:
    """Describe an interpreter to `pip download` by its tags."""
    parts = [tag.split("-") for tag in target.tags]
    abis = dict.fromkeys(abi for _, abi, _ in parts)
    platforms = dict.fromkeys(platform for _, _, platform in parts if platform != "any")
    options = ["--only-binary", ":all:", "--implementation", parts[0][0][:2]]
    options += ["--python-version", target.markers["python_full_version"]]
    options += [option for abi in abis for option in ("--abi", abi)]
    return (*options, *(option for platform in platforms for option in ("--platform", platform)))
