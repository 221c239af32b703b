"""pip's settings where pipm calls pip."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from pipm.errors import FetchError
from pipm.wheel import settings
from pipm.wheel.pip_download import asking_alone
from pipm.wheel.run_pip import PipCommand

if TYPE_CHECKING:
    from pathlib import Path

PIP = (sys.executable, "-m", "pip")


@pytest.mark.parametrize(
    "text", ["[global]\nindex-url = one\nindex-url = two\n", "no section\n", "[global]\nx = \udcff\n"]
)
def test_settings_that_pip_cannot_read_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """pip ends there; without its settings it would ask another index."""
    path = tmp_path / "pip.conf"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    settings._of_files.cache_clear()
    with pytest.raises(FetchError):
        settings.environ_for_pip(PIP)
    settings._of_files.cache_clear()


def test_settings_that_pip_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("[global]\nindex-url = https://index.invalid/simple\nuser = true\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    settings._of_files.cache_clear()
    environ = settings.environ_for_pip(PIP)
    settings._of_files.cache_clear()
    assert environ["PIP_INDEX_URL"] == "https://index.invalid/simple"
    assert "PIP_USER" not in environ


def test_temporary_files_of_pip_lie_in_the_given_folder(tmp_path: Path) -> None:
    shown = (sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())")
    pip = PipCommand(command=shown, environ={"TMPDIR": "/"})
    assert pip.run([], str(tmp_path), lambda: False) == (0, f"{tmp_path}\n")


def test_the_pip_that_builds_asks_no_further_index() -> None:
    environ = {"PIP_EXTRA_INDEX_URL": "https://more.invalid/simple", "PIP_PROXY": "http://proxy.invalid"}
    pip = PipCommand(command=PIP, environ=environ, foreign=(), python="3.11")
    assert asking_alone(pip, ["demo==1"]) is pip
    alone = asking_alone(pip, ["--index-url https://own.invalid/simple", "demo==1"])
    assert alone.environ == {"PIP_PROXY": "http://proxy.invalid"}


def test_ctrl_c_does_not_reach_pip(tmp_path: Path) -> None:
    """Else an interrupted sync would say that pip cannot read its settings."""
    program, seen = tmp_path / "pip", tmp_path / "session"
    program.write_text(f"#!/bin/sh\nps -o sid= -p $$ > {seen}\n")
    program.chmod(0o755)
    settings.environ_for_pip((str(program),))
    assert int(seen.read_text()) != os.getsid(0)
