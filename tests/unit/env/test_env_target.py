"""Asking interpreters for markers and tags."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import packaging
import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags
from pipm.env import ask_target as asking
from pipm.env.ask_target import ask_target, own_target
from pipm.errors import InterpreterError
from support.tools import VERSIONS, find_interpreter, pypy

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in VERSIONS if version != OWN and find_interpreter(version)]


def test_the_own_interpreter_says_the_same_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    here = own_target()
    assert here.markers == default_environment()
    assert here.tags == tuple(map(str, sys_tags()))
    asking._asked.cache_clear()
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert (
        ask_target(f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}") == here
    )
    asking._asked.cache_clear()


@pytest.mark.parametrize("version", OTHERS)
def test_another_interpreter_speaks_for_itself(version: str) -> None:
    python = find_interpreter(version)
    assert python is not None
    target = ask_target(python)
    assert target.markers["python_version"] == version
    assert target.python.startswith(f"{version}.")
    short = version.replace(".", "")
    assert target.tags[0].startswith(f"cp{short}-cp{short}-")
    assert "py3-none-any" in target.tags
    assert ask_target(python) is target  # asked once


def test_pypy() -> None:
    path, version = pypy()
    target = ask_target(path)
    assert target.markers["platform_python_implementation"] == "PyPy"
    assert target.markers["python_version"] == version
    assert target.tags[0].startswith(f"pp{version.replace('.', '')}-pypy")


def test_nothing_but_packaging_comes_along(tmp_path: object) -> None:
    """Neither the environment's modules nor pipm's neighbours of packaging are seen by the question."""
    folder = os.path.dirname(packaging.__file__)
    told = "import json, sys; sys.stderr.write(json.dumps(sys.path)); print("
    code = asking._QUESTION.replace("print(", told)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, folder],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert not {os.path.dirname(folder), str(tmp_path)} & set(json.loads(done.stderr))


def test_no_interpreter(tmp_path: object) -> None:
    with pytest.raises(InterpreterError, match="There is no interpreter"):
        ask_target(f"{tmp_path}/python")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\nexit 3\n", "cannot list the wheels that it supports"),
        ("#!/bin/sh\necho Segmentation fault >&2; exit 3\n", "it supports: Segmentation fault"),
        ("#!/bin/sh\necho hello\n", "is not a Python interpreter that runs"),
        ("no program\n", "is not a Python interpreter that runs"),
    ],
)
def test_a_program_that_is_no_interpreter(tmp_path: object, text: str, message: str) -> None:
    path = f"{tmp_path}/python"
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, 0o755)
    with pytest.raises(InterpreterError, match=message):
        ask_target(path)
