"""The build system of a project, as its pyproject.toml says (PEP 517, PEP 518)."""

from __future__ import annotations

import os
from typing import NamedTuple

from pipm.errors import FetchError
from pipm.lockfile.checked_table import load_toml

_SETUPTOOLS = "setuptools>=40.8.0"
"""The requirement of a project that names none, as pip and uv have it."""


class BuildSystem(NamedTuple):
    """The ``backend`` that builds a project, where in the project it lies, and what it needs."""

    requires: tuple[str, ...] = (_SETUPTOOLS,)
    backend: str = "setuptools.build_meta:__legacy__"
    backend_path: tuple[str, ...] = ()


def read_build_system(folder: str) -> BuildSystem:
    """Read the build system of the project in *folder*.

    Raises FetchError where *folder* has no project, LockError where its pyproject.toml is wrong.
    """
    path = f"{folder}/pyproject.toml"
    if not os.path.isfile(path):
        if os.path.isfile(f"{folder}/setup.py"):
            return BuildSystem()
        raise FetchError(
            f"{folder} is no Python project: it has neither pyproject.toml nor setup.py",
            hint="is the path in the lock right?",
        )
    document = load_toml(path)
    if "build-system" not in document.content:
        return BuildSystem()
    table = document.table("build-system")
    if "requires" not in table.content:
        raise table.error("requires is missing", hint="requires = [] where it needs nothing (PEP 518)")
    requires = tuple(table.requirements("requires"))
    backend = table.text("build-backend")
    return BuildSystem(requires, backend or BuildSystem().backend, tuple(table.texts("backend-path")))
