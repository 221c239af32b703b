"""Choosing a pip for an environment if pipm's own interpreter has none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pipm.env.ask_target import ask_target
from pipm.errors import FetchError
from pipm.wheel import run_pip
from support.synthetic import make_environment

if TYPE_CHECKING:
    from pathlib import Path

    from support.synthetic import Environment


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment without pip; pipm's interpreter has none either, and the one on PATH is too old."""
    old = tmp_path / "path" / "pip"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho pip 9.0: no such option: --python >&2\nexit 2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr(run_pip, "_own_pip", lambda: None)
    return make_environment(str(tmp_path / "env"))


def test_the_pip_that_ensurepip_brings(bare: Environment) -> None:
    command = run_pip.find_pip(bare.python, ask_target(bare.python)).command
    assert command[0] == bare.python
    assert os.path.basename(os.path.dirname(command[1])).startswith("pip-")
    done = subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert run_pip.pip_into(bare.python, ask_target(bare.python)) == command


def test_a_pip_that_does_not_run_there_is_not_taken(
    bare: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pip, "_BUNDLED", "")
    with pytest.raises(FetchError, match="No pip works with"):
        run_pip.find_pip(bare.python, ask_target(bare.python))


def test_a_pip_on_path_that_runs_there(
    bare: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pip, "_BUNDLED", "")
    path = tmp_path / "path" / "pip3"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    path.chmod(0o755)
    command = run_pip.find_pip(bare.python, ask_target(bare.python)).command
    assert command == (str(path), "--python", bare.python)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
def test_root_does_not_try_another_users_pip(
    bare: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pip, "_BUNDLED", "")
    path = tmp_path / "path" / "pip3"
    path.write_text(f"#!/bin/sh\n: > {tmp_path}/ran\n")
    path.chmod(0o755)
    os.chown(path, 12345, 12345)
    with pytest.raises(FetchError, match="No pip works with"):
        run_pip.find_pip(bare.python, ask_target(bare.python))
    assert not (tmp_path / "ran").exists()
