"""The project that a lock belongs to, as the pyproject.toml beside the lock tells."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pipm.core.pins import Folder, Pin
from pipm.lock.table import Table, load_toml


@dataclass(frozen=True, slots=True)
class Project:
    """``table`` is the whole pyproject.toml, empty where there is none."""

    table: Table

    @property
    def standard(self) -> Table:
        """The table ``project`` (PEP 621)."""
        return self.table.table("project")

    def tool(self, name: str) -> Table:
        """The table of one tool."""
        return self.table.table("tool").table(name)

    @property
    def groups(self) -> Table:
        """The table ``dependency-groups`` (PEP 735)."""
        return self.table.table("dependency-groups")

    def pin(self, name: str, version: str | None, where: str) -> Pin:
        """The project itself, installed so that edits to it count."""
        folder = Folder(path=self.table.folder, editable=True)
        return Pin(name=self.table.normalised(name), version=version, origin=folder, where=where)


def load_project(lock: Table) -> Project:
    """Read the pyproject.toml beside *lock*."""
    path = os.path.join(os.path.dirname(lock.file), "pyproject.toml")
    if not os.path.isfile(path):
        return Project(Table({}, path))
    return Project(load_toml(path))
