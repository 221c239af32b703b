"""Writing a lock: uv or pip resolves the requirements."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from shutil import which
from typing import TYPE_CHECKING

from pipm.core.selection import Selection
from pipm.env.ask_target import ask_target
from pipm.errors import FetchError, UsageError
from pipm.lockfile.checked_table import load_toml
from pipm.lockfile.read_lock import read_lock
from pipm.wheel.run_pip import find_pip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.core.target import Target

SOURCES = ("pyproject.toml", "requirements.in", "requirements.txt")
_VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")
_MOST_LINES = 4
_LOOK = "look at the names and versions; index, proxies and passwords are those of pip's (or uv's) settings"
_NAME = re.compile(r"pylock(\.[^.]+)?\.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockRequest:
    """A request for a lock; ``path`` is the new lock file.

    ``constraints`` is a file of pins for further distributions, or empty.
    """

    source: str
    path: str
    python: str
    extras: Sequence[str] = ()
    groups: Sequence[str] = ()
    constraints: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """A written lock: the tool, and the number of distributions for the interpreter."""

    path: str
    tool: str
    distributions: int
    seconds: float


def find_source(source: str | None) -> str:
    """Return the file whose requirements are to be locked; raise UsageError if there is none."""
    if source is not None:
        if not os.path.isfile(source):
            raise UsageError(f"There is no file {source}", hint=f"name one: {' or '.join(SOURCES)}")
        return source
    found = next((name for name in SOURCES if os.path.isfile(name)), None)
    if found is None:
        raise UsageError(
            f"There is no {', '.join(SOURCES[:-1])} or {SOURCES[-1]} here", hint="name one: pipm lock FILE"
        )
    return found


def write_lock(request: LockRequest) -> Locked:
    """Write the lock by uv (if it is on PATH) or pip; raise FetchError with their message if they fail."""
    started = time.monotonic()
    if not _NAME.fullmatch(os.path.basename(request.path)):
        raise UsageError(
            f"{request.path} is not a valid name for a lock",
            hint="PEP 751 wants pylock.toml or pylock.NAME.toml",
        )
    target = ask_target(request.python)
    uv = which("uv")
    if uv is not None:
        _run(_uv_command(uv, request), "uv", None)
    else:
        _by_pip(request, target)
    pins = read_lock(request.path, target, Selection())
    return Locked(
        path=os.path.abspath(request.path),
        tool="pip" if uv is None else "uv",
        distributions=len(pins),
        seconds=time.monotonic() - started,
    )


def _uv_command(uv: str, request: LockRequest) -> list[str]:
    command = [uv, "pip", "compile", "--quiet", "--universal", "--format", "pylock.toml"]
    command += ["--python", request.python, *_each("--extra", request.extras), *_constrained(request)]
    # A group without its file is that of the working folder's project.
    command += _each("--group", [f"{request.source}:{group}" for group in request.groups])
    return [*command, "--output-file", request.path, request.source]


def _by_pip(request: LockRequest, target: Target) -> None:
    pip = find_pip(request.python, target, resolving=True)
    if pip.foreign:
        raise FetchError(f"No pip runs on {request.python}", hint="install uv, or pip into the environment")
    command = [*pip.command, "lock", "--quiet"]
    command += ["--output", os.path.abspath(request.path), *_constrained(request)]
    needs: list[str] = []
    if os.path.basename(request.source) != "pyproject.toml":
        command += ["--requirement", request.source]
    else:
        command += _each("--group", [f"{request.source}:{group}" for group in request.groups])
        needs = _requirements(request)
        # Not as arguments: other users can see these, and a requirement may contain a password.
        command += ["--requirement", "/dev/stdin"] if needs else []
    _run(command, "pip", pip.environ, "".join(f"{need}\n" for need in needs))


def _requirements(request: LockRequest) -> list[str]:
    """Return a project's requirements, like uv without the project itself."""
    project = load_toml(request.source).table("project")
    if "dependencies" in project.texts("dynamic"):
        raise project.error("pip cannot lock dependencies that only a build tells", hint="install uv")
    optional = project.table("optional-dependencies")
    project.check_known("extra", request.extras, optional.content)
    return [
        *project.requirements("dependencies"),
        *(need for one in request.extras for need in optional.requirements(one)),
    ]


def _constrained(request: LockRequest) -> list[str]:
    return ["--constraint", request.constraints] if request.constraints else []


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _run(command: list[str], tool: str, environ: Mapping[str, str] | None, text: str = "") -> None:
    done = subprocess.run(
        command,
        env=environ,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        old = any("unknown command" in line for line in lines)
        told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
        text = _VERSIONS.sub(_last_versions, " ".join(told[-_MOST_LINES:]))
        raise FetchError(
            f"{tool} cannot lock: {text}",
            hint="`pip lock` came with pip 25.1; upgrade it, or install uv" if old else _LOOK,
            details=done.stdout,
        )


def _last_versions(match: re.Match[str]) -> str:
    """Shorten pip's list of hundreds of versions to the last few."""
    versions = match[1].split(", ")
    return f"(from versions: {'… ' * (len(versions) > _MOST_LINES)}{', '.join(versions[-_MOST_LINES:])})"
