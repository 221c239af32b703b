"""The state that decides whether an editable project is installed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pipm.core.pins import Pin, SourceFolder
from pipm.project.project_state import decided_by, folder_state

if TYPE_CHECKING:
    from pathlib import Path


def state(folder: Path, version: str | None = None, *options: str) -> str:
    return folder_state(
        decided_by(Pin("x", version, origin=SourceFolder(str(folder), editable=True), options=options))
    )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ('[project]\nname = "x"\nversion = "1"', "pyproject.toml"),
        ("", "setup.py"),
        ("", "setup.cfg"),
        (
            '[project]\nname = "x"\ndynamic = ["version"]\n[tool.hatch.version]\npath = "x/about.py"',
            "x/about.py",
        ),
        ('[project]\ndynamic = ["version"]\n[tool.setuptools.dynamic]\nversion = { file = ["V"] }', "V"),
        ('[project]\ndynamic = ["version"]\n[tool.setuptools.dynamic]\nversion.attr = "x.v.V"', "src/x/v.py"),
        (
            '[project]\ndynamic = ["version"]\n[tool.setuptools.dynamic]\nversion.attr = "x.V"',
            "x/__init__.py",
        ),
    ],
)
def test_what_describes_it_counts(tmp_path: Path, settings: str, name: str) -> None:
    (tmp_path / "pyproject.toml").write_text(settings)
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "module.py").write_text("1")
    if name != "pyproject.toml":
        file.write_text("V = 1")
    before = state(tmp_path)
    (tmp_path / "module.py").write_text("2")
    assert state(tmp_path) == before
    with file.open("a") as stream:
        stream.write("\n# 2\n")
    assert state(tmp_path) != before


def test_the_lock_counts(tmp_path: Path) -> None:
    states = {state(tmp_path), state(tmp_path, "1"), state(tmp_path, "2"), state(tmp_path, "2", "--pre")}
    assert len(states) == 4
    (tmp_path / "pyproject.toml").write_text("= broken")
    assert state(tmp_path) not in states
