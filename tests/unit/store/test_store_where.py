"""The paths of environments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pipm.errors import UsageError
from pipm.store.paths import environment_path

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_names_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEP 832."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "project/.venv"
    file.write_text("../elsewhere\n")
    assert os.path.realpath(environment_path("project/.venv")) == str(tmp_path / "elsewhere")
    file.write_text(str(tmp_path / "elsewhere"))
    assert environment_path("project/.venv") == str(tmp_path / "elsewhere")
    assert environment_path(".venv") == ".venv"
    for text in (b"", b"nowhere", b"../elsewhere\nmore", b"\xff", b"x" * 9000):
        file.write_bytes(text)
        with pytest.raises(UsageError, match="without the path of a folder"):
            environment_path("project/.venv")
    if os.geteuid() == 0:
        file.write_text("../elsewhere")
        os.chown(file, 12345, 12345)
        with pytest.raises(UsageError, match="another user"):
            environment_path("project/.venv")
