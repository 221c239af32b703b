"""An interpreter start prints once that the lock changed, by at most one stat."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import Pipm
from support.process import check, run
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import tool']); import tool"


def lock_of(folder: str, version: str) -> str:
    files = {"tool.py": f"VERSION = {version!r}\n".encode()}
    return pylock(folder, [make_wheel(f"{folder}/wheels", f"tool=={version}", files)])


@pytest.fixture
def pipm(tmp_path: Path) -> Pipm:
    return Pipm(store=str(tmp_path / "store"), cwd=str(tmp_path))


@pytest.fixture
def synced(tmp_path: Path, pipm: Pipm) -> Environment:
    lock_of(str(tmp_path), "1")
    pipm("sync", "--link-mode", "finder").expect()
    return Environment(path=str(tmp_path / ".venv"))


def test_a_start_says_once_that_the_lock_changed(tmp_path: Path, pipm: Pipm, synced: Environment) -> None:
    lock = tmp_path / "pylock.toml"
    assert run(synced.python, "-c", CHILD).stderr == ""
    lock_of(str(tmp_path), "2")
    words = f"sync {lock} --env {synced.path} --link-mode finder"
    for code in ("import tool", CHILD):
        done = run(synced.python, "-c", code)
        assert done.returncode == 0
        assert done.stderr == (
            f"warning: {lock} changed since {synced.path} was made from it\n\n"
            f"hint: pipm {words}; PIPM_STALE=ignore silences this\n"
        )
    silent = run(synced.python, "-c", CHILD, environ={"PIPM_STALE": "ignore"})
    assert (silent.returncode, silent.stderr) == (0, "")
    refused = run(synced.python, "-c", "print('ran')", environ={"PIPM_STALE": "error"})
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
    # What is told to do helps, though errors are asked for.
    Pipm(store=pipm.store, cwd=pipm.cwd, environ={"PIPM_STALE": "error"})(*words.split()).expect()
    done = run(synced.python, "-c", "import tool; print(tool.VERSION)", environ={"PIPM_STALE": "error"})
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_a_touched_lock_is_read_once(tmp_path: Path, synced: Environment) -> None:
    lock = tmp_path / "pylock.toml"
    os.utime(lock)
    code = "import sys; print('hashlib' in sys.modules)"
    seen = [run(synced.python, "-c", code) for _ in range(2)]
    assert [(done.stdout, done.stderr) for done in seen] == [("True\n", ""), ("False\n", "")]
    text = lock.read_text()
    lock.write_text(text.replace('version = "1"', 'version = "3"'))  # of the same size
    assert "changed since" in run(synced.python, "-c", "pass").stderr
    lock.write_text(text)
    assert run(synced.python, "-c", "pass").stderr == ""
    lock.unlink()
    assert run(synced.python, "-c", "import tool").stderr == ""


def test_it_costs_one_stat(tmp_path: Path, synced: Environment) -> None:
    trace = str(tmp_path / "trace")
    check(synced.python, "-c", "import tool")  # writes what bytecode there is to write
    counts = []
    for request in ("ignore", "warn"):
        command = ("strace", "-f", "-o", trace, "-e", "trace=file,desc", synced.python, "-I", "-c", "pass")
        try:
            check(*command, environ={"PIPM_STALE": request})
        except FileNotFoundError:
            pytest.skip("no strace")
        with open(trace, encoding="utf-8", errors="replace") as stream:
            counts.append(sum(1 for _ in stream))
    assert counts[1] - counts[0] == 1
