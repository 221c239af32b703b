"""The project of a lock, read from the pyproject.toml beside the lock."""

from __future__ import annotations

import ast
import configparser
import os
from dataclasses import dataclass

from pipm.core.pins import Pin, SourceFolder
from pipm.lockfile.checked_table import LockTable, load_bytes, load_toml


@dataclass(frozen=True, slots=True)
class Project:
    """A project; ``table`` is its whole pyproject.toml, empty if it has none."""

    table: LockTable

    @property
    def standard(self) -> LockTable:
        """The table ``project`` (PEP 621)."""
        return self.table.table("project")

    def tool(self, name: str) -> LockTable:
        """Return the table of one tool."""
        return self.table.table("tool").table(name)

    @property
    def groups(self) -> LockTable:
        """The table ``dependency-groups`` (PEP 735)."""
        return self.table.table("dependency-groups")

    def name(self) -> str | None:
        """Return the project's name from its files without running anything, or None."""
        return self.standard.text("name") or self.tool("poetry").text("name") or _setuptools_name(self.table)

    def pin(self, name: str, version: str | None, where: str) -> Pin:
        """Return the pin of the project itself, installed as editable."""
        folder = SourceFolder(path=self.table.folder, editable=True)
        return Pin(name=self.table.normalised(name), version=version, origin=folder, where=where)


def load_project(lock: LockTable) -> Project:
    """Read the pyproject.toml beside *lock*."""
    path = os.path.join(os.path.dirname(lock.file), "pyproject.toml")
    if not os.path.isfile(path):
        return Project(LockTable({}, path))
    return Project(load_toml(path))


def _setuptools_name(pyproject: LockTable) -> str | None:
    """Return the name in setup.cfg, otherwise the literal name in setup.py, or None."""
    folder = os.path.dirname(pyproject.file)
    settings = configparser.RawConfigParser()
    try:
        settings.read(os.path.join(folder, "setup.cfg"), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise pyproject.error(f"setup.cfg beside it cannot be read: {type(error).__name__}") from None
    name = settings.get("metadata", "name", fallback="").strip()
    return name or _name_in_script(os.path.join(folder, "setup.py"))


def _name_in_script(path: str) -> str | None:
    if not os.path.isfile(path):
        return None
    try:
        tree = ast.parse(load_bytes(path))
    except (SyntaxError, ValueError, RecursionError):
        return None
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "setup":
            for keyword in call.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return None
