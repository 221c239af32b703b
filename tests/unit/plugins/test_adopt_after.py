"""Plug-ins do nothing while they are off, and never make a tool's command fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.plugins.adopt_after import adopt_after
from pipm.store import configuration

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def never() -> str:
    raise AssertionError("the environment is not asked for while the plug-in is off")


def test_a_plugin_that_is_off_does_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPM_PLUGINS", "tox")
    adopt_after("poetry", never)
    assert capfd.readouterr() == ("", "")


def test_an_error_is_one_line_and_no_exception(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPM_PLUGINS", "poetry")

    def broken() -> str:
        raise RuntimeError("no environment")

    adopt_after("poetry", broken)
    assert capfd.readouterr() == ("", "pipm: error: no environment\n")
    monkeypatch.setenv("PIPM_PLUGINS", "make")
    adopt_after("poetry", never)
    assert "There is no plug-in for 'make'" in capfd.readouterr().err


def test_a_folder_without_environment_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PIPM_PLUGINS", ",".join(configuration.PLUGINS))
    adopt_after("pdm", lambda: tmp_path)
    adopt_after("pdm", lambda: None)
    assert capfd.readouterr() == ("", "")
