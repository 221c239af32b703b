"""Targets and lock files for the tests of the readers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import pytest
from pipm.core.pins import Archive, Pin, SourceFolder
from pipm.core.selection import Selection
from pipm.core.target import Target
from pipm.errors import FetchError, LockError
from pipm.lockfile.read_lock import read_lock
from pipm.wheel.pip_download import Way, request_for

if TYPE_CHECKING:
    from collections.abc import Iterable

A, B, C = "a" * 64, "b" * 64, "c" * 64
"""Digests of archives."""


def target(version: str = "3.11.7", *, system: str = "linux", implementation: str = "cpython") -> Target:
    """An interpreter on x86_64 with few tags, the best first."""
    short = "".join(version.split(".")[:2])
    own = f"cp{short}-cp{short}" if implementation == "cpython" else f"pp{short}-pypy{short}_pp73"
    platforms = {"linux": ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "linux_x86_64"]}
    chosen = platforms.get(system, ["win_amd64"])
    tags = [f"{own}-{platform}" for platform in chosen]
    tags += [f"cp39-abi3-{platform}" for platform in chosen if implementation == "cpython"]
    tags += [f"py{short}-none-any", "py3-none-any"]
    markers = {
        "implementation_name": implementation,
        "implementation_version": version,
        "os_name": "posix" if system == "linux" else "nt",
        "platform_machine": "x86_64",
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}[implementation],
        "platform_release": "6.1",
        "platform_system": {"linux": "Linux", "win32": "Windows"}[system],
        "platform_version": "#1",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": system,
    }
    return Target(markers=markers, tags=tuple(tags))


LINUX = target()
OLD = target("3.9.18")
WINDOWS = target(system="win32")
PYPY = target("3.9.16", implementation="pypy")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockFile:
    """A lock written for one test."""

    path: str

    def read(
        self,
        where: Target = LINUX,
        *,
        extras: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        default_groups: bool = True,
        project: bool = True,
    ) -> dict[str, Pin]:
        """Read it; the pins by name."""
        selection = Selection(extras=extras, groups=groups, default_groups=default_groups, project=project)
        pins = read_lock(self.path, where, selection)
        assert list(pins) == sorted(pins, key=lambda pin: pin.name)
        return {pin.name: pin for pin in pins}

    def versions(
        self,
        where: Target = LINUX,
        *,
        extras: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        default_groups: bool = True,
    ) -> dict[str, str | None]:
        """Read it; the versions by name, without the project itself."""
        pins = self.read(where, extras=extras, groups=groups, default_groups=default_groups, project=False)
        return {name: pin.version for name, pin in pins.items()}

    def fails(
        self, where: Target = LINUX, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()
    ) -> str:
        """Read it; what the error says, without the path of the file."""
        with pytest.raises(LockError) as caught:
            self.read(where, extras=extras, groups=groups)
        message = caught.value.message
        assert self.path in message or "pyproject.toml" in message or "requirements" in message
        return message.replace(self.path, "LOCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """The folder of a test's lock and the files beside it."""

    path: str

    def write(self, name: str, text: str) -> LockFile:
        """Write a file here."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return LockFile(path=path)


def file_names(archives: tuple[Archive, ...]) -> list[str]:
    return [archive.file_name for archive in archives]


def lines_of(pins: Iterable[Pin]) -> list[str]:
    """What pip gets for *pins* by each way; folders, and pins that it cannot check, have no line."""
    found = []
    for pin, way in product((pin for pin in pins if not isinstance(pin.origin, SourceFolder)), Way):
        try:
            request = request_for(pin, way)
        except FetchError:
            continue
        found += [*request.options, request.line]
    return found


def assert_harmless(pins: Iterable[Pin]) -> None:
    """Check that pip reads each line as exactly one requirement or option, the right one."""
    for line in lines_of(pins):
        assert line.splitlines() == [line]
        assert "${" not in line
        assert not line.endswith("\\")
        words = line.split()
        assert all(word.startswith("--hash=sha256:") for word in words[1:] if word.startswith("-")), line
