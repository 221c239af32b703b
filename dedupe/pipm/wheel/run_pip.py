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

from pipm.errors import FetchError
from pipm.wheel.settings import environ_for_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipm.core.target import Target

_TICK = 0.05


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
    interpreter by ``--python``; where that is too old for it, the environment's own. *resolving*: it shall
    choose versions, too, by the settings that are about those.
    """
    own = _own_pip()
    foreign: tuple[str, ...] = ()
    if own is not None and os.path.realpath(python) == os.path.realpath(sys.executable):
        command = own
    elif own is not None and _own_runs_on(target):
        command = (*own, "--python", python)
    elif _has_pip(python):
        command = (python, "-m", "pip")
    elif own is None:
        raise FetchError(
            "There is no pip: neither pipm's interpreter nor the environment has one",
            hint="install pip beside pipm, or into the environment",
        )
    else:
        command, foreign = own, _foreign_options(target)
    environ = environ_for_pip(command, resolving=resolving)
    return PipCommand(command=command, environ=environ, foreign=foreign, python=target.python)


def pip_into(python: str, target: Target) -> tuple[str, ...]:
    """Return a command of pip that changes the environment of *python*, which has no pip itself.

    Raises FetchError where there is none.
    """
    own = _own_pip()
    if own is None or not _own_runs_on(target):
        raise FetchError(
            f"There is no pip for {python}: the environment has none, and pipm's own does not run on it",
            hint=f"{python} -m ensurepip",
        )
    return (*own, "--python", python)


def _own_pip() -> tuple[str, ...] | None:
    """Pip of the interpreter that runs pipm, else the first on PATH."""
    if util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    for name in ("pip3", "pip"):
        path = which(name)
        if path is not None:
            return (path,)
    return None


def _own_runs_on(target: Target) -> bool:
    version = target.markers["python_full_version"]
    return SpecifierSet(_oldest_for_own()).contains(version, prereleases=True)


@cache
def _oldest_for_own() -> str:
    try:
        return metadata.metadata("pip")["Requires-Python"] or ""
    except (metadata.PackageNotFoundError, KeyError):
        return ">=3.10"  # of a pip on PATH nothing is known; as pip's own since 26.0


@cache
def _has_pip(python: str) -> bool:
    done = subprocess.run([python, "-I", "-m", "pip", "--version"], capture_output=True, check=False)
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
