"""The settings of pip that pipm uses."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from pipm.errors import FetchError
from pipm.wheel import settings
from pipm.wheel.pip_download import without_extra_indexes
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
    with pytest.raises(FetchError):
        settings.environ_for_pip(sys.executable)


def test_settings_that_pip_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("[global]\nindex-url = https://index.invalid/simple\nuser = true\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    environ = settings.environ_for_pip(sys.executable)
    assert environ["PIP_INDEX_URL"] == "https://index.invalid/simple"
    assert "PIP_USER" not in environ


def test_temporary_files_of_pip_lie_in_the_given_folder(tmp_path: Path) -> None:
    shown = (sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())")
    pip = PipCommand(command=shown, environ={"TMPDIR": "/"})
    assert pip.run([], str(tmp_path), lambda: False) == (0, f"{tmp_path}\n")


def test_the_pip_that_builds_asks_no_further_index() -> None:
    environ = {"PIP_EXTRA_INDEX_URL": "https://more.invalid/simple", "PIP_PROXY": "http://proxy.invalid"}
    pip = PipCommand(command=PIP, environ=environ, foreign=(), python="3.11")
    assert without_extra_indexes(pip, ["demo==1"]) is pip
    alone = without_extra_indexes(pip, ["--index-url https://own.invalid/simple", "demo==1"])
    assert alone.environ == {"PIP_PROXY": "http://proxy.invalid"}


def test_files_override_each_other_as_in_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's own file overrides others, and its section `install` overrides `global`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/one:{tmp_path}/two")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    places = ("one/pip", "two/pip", ".pip", "user/pip", "env")
    for number, place in enumerate(places):
        (tmp_path / place).mkdir(parents=True)
        rows = "".join(
            f"{'retries_' if key % 2 else 'Timeout'}{key} = {number}\n" for key in range(number, 5)
        )
        text = f"[global]\n{rows}[install]\n--index_url = {number}\n[wheel]\nproxy = no\n"
        (tmp_path / place / "pip.conf").write_text(text.replace("_0", ""))
    (tmp_path / "env/pyvenv.cfg").touch()
    python = f"{tmp_path}/env/bin/python"
    known = dict(settings._of_files(python))
    assert known["index-url"] == "4"
    assert [known[f"{'retries-' if key % 2 else 'timeout'}{key}"] for key in range(5)] == list("01234")
