"""Standard streams that are closed or full: one line, exit code 1, and the work is done."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.process import clean_environ
from support.store import damage
from support.synthetic import write

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm

COMMANDS = [("list",), ("df", "--json"), ("--version",), ("--help",), ("doctor",)]


def started(pipm: Pipm, *words: str, out: int | None = None, shell: str = "") -> tuple[int, str]:
    """Run the command with standard output *out*, or with a *shell*'s redirections; its code and stderr."""
    command, variables = pipm.command(*words)
    line = ["sh", "-c", f'exec "$@" {shell}', "sh", *command] if shell else command
    done = subprocess.run(
        line,
        env=clean_environ(variables),
        stdout=out,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def assert_one_line(code: int, said: str, reason: str, *, as_json: bool) -> None:
    """Check that the failure is one line with its hint."""
    assert code == 1
    assert f"Cannot write to standard output: {reason}" in said
    assert "Internal error" not in said
    assert "Traceback" not in said
    assert said.count("error: " if not as_json else 'error"') == 1
    assert len(said.strip().splitlines()) == 1 or not as_json


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_disk(pipm: Pipm, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        code, said = started(pipm, *words, out=full.fileno())
    assert_one_line(code, said, "No space left on device", as_json="--json" in words)


@pytest.mark.parametrize("words", COMMANDS[:3], ids=" ".join)
def test_a_closed_output(pipm: Pipm, words: tuple[str, ...]) -> None:
    code, said = started(pipm, *words, shell=">&-")
    assert_one_line(code, said, "Bad file descriptor", as_json="--json" in words)


def test_a_terminal_that_is_gone(pipm: Pipm) -> None:
    master, terminal = os.openpty()
    os.close(master)
    code, said = started(pipm, "list", out=terminal)
    os.close(terminal)
    assert_one_line(code, said, "Input/output error", as_json=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_that_left(pipm: Pipm, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code, said = started(pipm, *words, out=writing)
    os.close(writing)
    assert code == 1
    assert "error" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "<&-"])
def test_the_work_is_done_and_no_file_gets_the_output(pipm: Pipm, tmp_path: Path, closed: str) -> None:
    write(str(tmp_path / "pylock.toml"), b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    code, _ = started(
        pipm, "sync", str(tmp_path / "pylock.toml"), "--env", str(tmp_path / "env"), shell=closed
    )
    assert code == (1 if ">&- 2>&-" in closed else 0)
    assert os.path.exists(tmp_path / "env/bin/python")
    assert damage(pipm.store) == []
    assert "environments" in pipm("list", "--json").expect().json
