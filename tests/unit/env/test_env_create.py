from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from pipm.env.base_interpreter import BaseInterpreter, find_interpreter
from pipm.env.create_environment import create_environment
from pipm.env.pyenv_shims import shim_target
from pipm.errors import InterpreterError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def stand_in(folder: Path, name: str, answer: str) -> str:
    """A program that answers the question as an interpreter would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


def python(folder: Path, name: str, version: str, *, implementation: str = "cpython") -> str:
    numbers = version.replace(".", ", ")
    path = f"{folder}/{name}"
    return stand_in(folder, name, f'["{implementation}", [{numbers}], "{path}", "/venv.py", true]')


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with several interpreters, in the places where they are looked for."""
    python(tmp_path / "path", "python3.12", "3.12.1")
    python(tmp_path / "path", "python3", "3.11.7")
    python(tmp_path / "pyenv/versions/3.10.2/bin", "python3", "3.10.2")
    python(tmp_path / "pyenv/versions/3.10.13/bin", "python3", "3.10.13")
    python(tmp_path / "pyenv/versions/3.8.18/bin", "python3", "3.8.18")
    python(tmp_path / "pyenv/versions/pypy3.9-7.3.9/bin", "pypy3", "3.9.16", implementation="pypy")
    python(tmp_path / "uv/cpython-3.13.5-linux-x86_64-gnu/bin", "python3", "3.13.5")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (None, "path/python3"),
        ("3.12", "path/python3.12"),
        ("3.12.1", "path/python3.12"),
        ("python3.12", "path/python3.12"),
        ("py312", "path/python3.12"),
        ("cpython-3.12", "path/python3.12"),
        ("3.11", "path/python3"),
        ("py311", "path/python3"),
        ("3", "path/python3"),
        ("3.10", "pyenv/versions/3.10.13/bin/python3"),
        ("3.10.2", "pyenv/versions/3.10.2/bin/python3"),
        ("3.13", "uv/cpython-3.13.5-linux-x86_64-gnu/bin/python3"),
        ("pypy3.9", "pyenv/versions/pypy3.9-7.3.9/bin/pypy3"),
    ],
)
def test_finds_what_is_asked_for(machine: Path, wanted: str | None, path: str) -> None:
    assert find_interpreter(wanted).path == str(machine / path)


def test_a_path_is_taken_as_it_is(machine: Path) -> None:
    path = str(machine / "pyenv/versions/3.10.2/bin/python3")
    found = find_interpreter(path)
    assert (found.path, found.version, found.shown) == (path, (3, 10, 2), "Python 3.10.2")


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ("3.8", "too old"),
        ("2.7", "too old"),
        ("3.99", "no Python 3.99"),
        ("snake", "no interpreter snake"),
        ("./nowhere/python", "no interpreter ./nowhere/python"),
        ("/bin/true", "not a Python interpreter"),
        ("pypy3.12", "no Python pypy3.12"),
    ],
)
def test_says_what_is_missing(machine: Path, wanted: str, word: str) -> None:
    assert machine.is_dir()
    with pytest.raises(InterpreterError, match=word) as caught:
        find_interpreter(wanted)
    assert caught.value.hint


def test_an_old_interpreter_by_path_is_refused(machine: Path) -> None:
    with pytest.raises(InterpreterError, match="too old"):
        find_interpreter(str(machine / "pyenv/versions/3.8.18/bin/python3"))


def test_a_broken_shim_is_passed_over(machine: Path) -> None:
    """pyenv's shims are on PATH for versions that are not chosen, and fail."""
    shim = machine / "path/python3.10"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert find_interpreter("3.10").path == str(machine / "pyenv/versions/3.10.13/bin/python3")


@pytest.mark.parametrize(
    ("variable", "local", "everywhere", "path"),
    [
        ("", "", "3.10.2\n", "pyenv/versions/3.10.2/bin/python3"),
        ("", "# mine\n3.10.13 # newest\n", "3.10.2", "pyenv/versions/3.10.13/bin/python3"),
        ("3.10.13", "3.10.2", "3.10.2", "pyenv/versions/3.10.13/bin/python3"),
        ("pypy3.9-7.3.9:3.10.2", "", "", "pyenv/versions/3.10.2/bin/python3"),
        ("", "", "", "path/python3"),
        ("system", "3.10.2", "3.10.2", "path/python3"),
    ],
)
def test_a_shim_is_not_started(
    machine: Path, monkeypatch: pytest.MonkeyPatch, variable: str, local: str, everywhere: str, path: str
) -> None:
    """pyenv's variable and files name the chosen version."""
    shim = python(machine / "pyenv/shims", "python3", "3.12.99")
    monkeypatch.setenv("PATH", f"{os.path.dirname(shim)}/:{machine}/path")
    monkeypatch.setenv("PYENV_VERSION", variable)
    (machine / "pyenv/version").write_text(everywhere)
    (machine / "project/below").mkdir(parents=True)
    if local:
        (machine / "project/.python-version").write_text(local)
    monkeypatch.chdir(machine / "project/below")
    assert find_interpreter(None).path == str(machine / path)


def test_a_shim_that_is_not_plain_decides_itself(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = python(machine / "pyenv/shims", "python3", "3.12.99")
    monkeypatch.setenv("PYENV_VERSION", "pypy3.9-7.3.9")
    assert shim_target(shim) is None  # that has no python3
    monkeypatch.setenv("PYENV_VERSION", "3.10")
    assert shim_target(shim) == shim
    assert find_interpreter(shim).version == (3, 12, 99)


def test_makes_an_environment_of_this_interpreter(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "env")
    environment = create_environment(path, find_interpreter(sys.executable))
    assert environment.path == os.path.realpath(path)
    assert environment.interpreter is not None
    assert environment.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert os.listdir(f"{path}/{environment.sites[0]}") == []


def test_takes_an_empty_folder_and_nothing_else(tmp_path: Path) -> None:
    interpreter = find_interpreter(sys.executable)
    (tmp_path / "empty").mkdir()
    create_environment(str(tmp_path / "empty"), interpreter)
    with pytest.raises(UsageError, match="is already an environment"):
        create_environment(str(tmp_path / "empty"), interpreter)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        create_environment(str(tmp_path / "full"), interpreter)
    with pytest.raises(UsageError, match="not a folder"):
        create_environment(str(tmp_path / "full" / "file"), interpreter)
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_leaves_nothing_when_venv_fails(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "python"
    program.write_text('#!/bin/sh\nfor last; do :; done\nmkdir "$last"\necho no room >&2\nexit 1\n')
    program.chmod(0o755)
    broken = BaseInterpreter(
        path=str(program), implementation="cpython", version=(3, 12, 1), venv="/venv.py", has_ensurepip=True
    )
    with pytest.raises(InterpreterError, match="no room"):
        create_environment(str(tmp_path / "env"), broken)
    assert not (tmp_path / "env").exists()


def test_a_python_without_venv_names_the_package() -> None:
    bare = BaseInterpreter(
        path="/bin/true", implementation="cpython", version=(3, 11, 2), venv=None, has_ensurepip=False
    )
    with pytest.raises(InterpreterError, match="no module venv") as caught:
        create_environment("/nonexistent/env", bare)
    assert "python3.11-venv" in str(caught.value.hint)
