"""The fingerprint of a lock with editable projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.pins import Pin, SourceFolder
from pipm.project.project_state import decided_by, folder_state
from pipm.sync.known_projects import is_current, remember_projects

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_changes_with_what_a_project_is_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    pin = Pin(
        "x",
        None,
        origin=SourceFolder(str(folder), editable=True),
        options=("--index-url", "https://a:secret@b"),
    )
    known = remember_projects("lock", {decided_by(pin): folder_state(decided_by(pin))})
    assert is_current(known, "lock")
    assert not is_current(known, "other")
    assert not is_current("lock", "")
    (folder / "module.py").write_text("1")
    assert is_current(known, "lock")
    (folder / "setup.cfg").write_text("[metadata]\n")
    assert not is_current(known, "lock")
    assert not any(
        b"secret" in file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()
    )


def test_without_projects_it_is_the_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert remember_projects("lock", {}) == "lock"
    assert is_current("lock", "lock")
    assert not is_current("", "")
    assert not (tmp_path / "cache").exists()
