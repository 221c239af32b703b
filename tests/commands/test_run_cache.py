"""The cache of `pipm run`, and its removal by gc."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import Pipm
from support.process import clean_environ
from support.runs import environments, make_runner, publish
from support.store import damage, root_count

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = 30 * 86400.0
WAIT = "import sys; print('at', flush=True); input()"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for spec in ("tool==1", "other==1"):
        publish(str(tmp_path), spec)
    return str(tmp_path)


@pytest.fixture
def pipm(folder: str) -> Pipm:
    return make_runner(folder)


def place(folder: str, name: str) -> str:
    return f"{folder}/cache/pipm/environments/{name}"


def age(folder: str, name: str) -> None:
    """Let nobody have used an environment for long."""
    then = time.time() - LONG_AGO
    for path in (".pipm/ready", "pyvenv.cfg"):
        os.utime(f"{place(folder, name)}/{path}", (then, then))


def age_locks(folder: str) -> None:
    for entry in os.scandir(f"{folder}/cache/pipm/locks"):
        os.utime(entry.path, (time.time() - LONG_AGO,) * 2)


def test_what_nobody_uses_goes(folder: str, pipm: Pipm) -> None:
    pipm("run", "--with", "other", "other").expect()
    (old,) = environments(folder)
    pipm("run", "--with", "tool", "tool").expect()
    (new,) = set(environments(folder)) - {old}
    age(folder, old)
    age_locks(folder)
    pipm("run", "--with", "tool", "tool").expect()
    dry = pipm("gc", "--dry-run", "--json").expect().json
    assert dry["environments_removed"] == [place(folder, old)]
    assert environments(folder) == sorted([old, new])
    assert "1 environment that `pipm run` made" in pipm("gc").expect().out
    assert environments(folder) == [new]
    assert len(os.listdir(f"{folder}/cache/pipm/locks")) == 1
    assert root_count(pipm.store) == 1
    assert pipm("run", "--with", "tool", "tool").expect().out == "tool 1\n"
    assert pipm("run", "--with", "other", "other").expect().out == "other 1\n"
    done = pipm("gc", "--keep", "0", "--json").expect().json
    assert len(done["environments_removed"]) == 2
    assert environments(folder) == []
    assert os.listdir(f"{pipm.store}/v1/wheels") == []
    assert damage(pipm.store) == []
    assert pipm("run", "--with", "tool", "tool").expect().out == "tool 1\n"


def started(pipm: Pipm, *words: str) -> subprocess.Popen[str]:
    process = pipm.start(*words, talks=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at\n"
    return process


def test_what_a_program_uses_stays(folder: str, pipm: Pipm) -> None:
    process = started(pipm, "run", "--with", "tool", "python", "-c", f"{WAIT}; import tool; tool.main()")
    (name,) = environments(folder)
    age(folder, name)
    assert pipm("gc", "--keep", "0", "--json").expect().json["environments_removed"] == []
    out, _ = process.communicate("\n")
    assert out == "tool 1\n"
    age(folder, name)
    # Its interpreter by itself, as a kernel that was installed from there.
    command = [f"{place(folder, name)}/bin/python", "-c", f"{WAIT}; import tool; tool.main()"]
    kernel = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environ()
    )
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == "at\n"
    age(folder, name)
    assert pipm("gc", "--keep", "0", "--json").expect().json["environments_removed"] == []
    assert kernel.communicate("\n")[0] == "tool 1\n"
    age(folder, name)
    assert pipm("gc", "--keep", "0", "--json").expect().json["environments_removed"] == [place(folder, name)]


def test_another_stores_and_a_torn_one(folder: str, pipm: Pipm) -> None:
    pipm("run", "--with", "tool", "tool").expect()
    (name,) = environments(folder)
    age(folder, name)
    torn = place(folder, "torn-0123")
    os.makedirs(f"{torn}/bin")
    other = Pipm(store=f"{folder}/other", cwd=folder, environ=pipm.environ)
    other("run", "--with", "other", "other").expect()
    assert other("gc", "--json").expect().json["environments_removed"] == []
    os.utime(torn, (time.time() - LONG_AGO,) * 2)
    assert other("gc", "--json").expect().json["environments_removed"] == [torn]
    assert name in environments(folder)


def test_an_environment_whose_interpreter_is_gone_is_made_anew(folder: str, pipm: Pipm) -> None:
    lock = pylock(folder, [publish(folder, "tool==1")])
    assert pipm("run", "--lock", lock, "tool").expect().out == "tool 1\n"
    (name,) = environments(folder)
    os.remove(f"{place(folder, name)}/bin/python")
    os.symlink("/no/such/python", f"{place(folder, name)}/bin/python")
    assert pipm("run", "--lock", lock, "tool").expect().out == "tool 1\n"
    assert environments(folder) == [name]


def test_several_at_once_and_a_collector(pipm: Pipm) -> None:
    """Whoever comes first makes it; a collector in between takes nothing from a program."""
    for _ in range(2):
        runs = [pipm.start("run", "--with", "tool", "tool") for _ in range(3)]
        collector = pipm.start("gc", "--keep", "0")
        outs = [process.communicate(timeout=300) for process in runs]
        assert [out for out, _ in outs] == ["tool 1\n"] * 3, outs
        _, told = collector.communicate(timeout=300)
        assert collector.returncode == 0, told
    assert damage(pipm.store) == []
