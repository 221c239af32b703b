"""The build system of a project in its pyproject.toml (PEP 517, PEP 518)."""

from __future__ import annotations

import os
from typing import NamedTuple

from pipm.errors import FetchError
from pipm.lockfile.checked_table import load_toml

_SETUPTOOLS = "setuptools>=40.8.0"
"""The requirement of a project without a build system, like in pip and uv."""


class BuildSystem(NamedTuple):
    """The ``backend`` of a project, the backend's path in the project, and its requirements."""

    requires: tuple[str, ...] = (_SETUPTOOLS,)
    backend: str = "setuptools.build_meta:__legacy__"
    backend_path: tuple[str, ...] = ()


def read_build_system(folder: str) -> BuildSystem:
    """Read the build system of the project in *folder*.

    Raises FetchError if *folder* has no project, LockError if its pyproject.toml is invalid.
    """
    path = f"{folder}/pyproject.toml"
    if not os.path.isfile(path):
        if os.path.isfile(f"{folder}/setup.py"):
            return BuildSystem()
        raise FetchError(
            f"{folder} is not a Python project: it has neither pyproject.toml nor setup.py",
            hint="check the path in the lock",
        )
    document = load_toml(path)
    if "build-system" not in document.content:
        return BuildSystem()
    table = document.table("build-system")
    if "requires" not in table.content:
        raise table.error("requires is missing", hint="requires = [] if it needs nothing (PEP 518)")
    requires = tuple(table.requirements("requires"))
    backend = table.text("build-backend")
    return BuildSystem(requires, backend or BuildSystem().backend, tuple(table.texts("backend-path")))
