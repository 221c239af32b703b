"""Answers of interpreters are cached; environments are made from a template without venv."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pipm.core.scheme import Scheme
from pipm.env import create_environment as create
from pipm.env.ask_target import ask_target
from pipm.env.base_interpreter import BaseInterpreter, find_interpreter
from pipm.env.create_environment import create_environment
from pipm.env.interpreter_cache import cached_answer
from pipm.errors import UsageError
from pipm.fs.cache_files import user_cache_folder
from support.tools import VERSIONS, pypy
from support.tools import find_interpreter as known_interpreter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_cache_folder()


def refused() -> object:
    raise AssertionError("asked again")


def test_an_answer_is_kept_until_the_program_changes(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF 1")
    assert cached_answer(str(program), "who", lambda: ["me"]) == ["me"]
    assert cached_answer(str(program), "who", refused) == ["me"]
    assert cached_answer(str(program), "what", lambda: 1) == 1
    assert cached_answer(str(program), "who", refused) == ["me"]
    program.write_bytes(b"\x7fELF 12")
    assert cached_answer(str(program), "who", lambda: ["another"]) == ["another"]
    assert cached_answer(str(program), "what", lambda: 2) == 2


def test_what_is_no_answer_or_a_scripts_is_not_kept(tmp_path: Path, cache: str) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF")
    assert cached_answer(str(program), "who", lambda: None) is None
    assert cached_answer(str(program), "who", lambda: "now") == "now"
    script = tmp_path / "shim"
    script.write_bytes(b"#!/bin/sh\n")
    assert cached_answer(str(script), "who", lambda: 1) == 1
    assert cached_answer(str(script), "who", lambda: 2) == 2
    assert cached_answer(str(tmp_path / "none"), "who", lambda: 3) == 3
    assert len(os.listdir(cache)) == 1


def test_a_torn_cache_is_asked_anew(tmp_path: Path, cache: str) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF")
    cached_answer(str(program), "who", lambda: "me")
    (name,) = os.listdir(cache)
    for content in (b"", b"\0\0\0", b"[]", b'{"who": '):
        with open(f"{cache}/{name}", "wb") as file:
            file.write(content)
        assert cached_answer(str(program), "who", lambda: "again") == "again"


def test_targets_are_kept_for_the_next_process() -> None:
    python = os.path.realpath(sys.executable)
    code = f"from pipm.env.ask_target import ask_target; print(ask_target({python!r}))"
    first, second = (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    )
    assert first == second == f"{ask_target(python)}\n"


def tree(path: str) -> dict[str, tuple[int, bytes | str]]:
    """Every name below *path*: mode, and content or target, without the path itself."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for base, folders, names in os.walk(path):
        for name in (*folders, *names):
            place = os.path.join(base, name)
            content: bytes | str = b""
            if os.path.islink(place):
                content = os.readlink(place)
            elif os.path.isfile(place):
                with open(place, "rb") as file:
                    content = file.read().replace(os.fsencode(path), b"PATH").replace(b"one-env", b"another")
            found[os.path.relpath(place, path)] = (os.lstat(place).st_mode, content)
    return found


def interpreters() -> list[str]:
    return [python for version in VERSIONS if (python := known_interpreter(version))]


@pytest.mark.parametrize("python", ["pypy", *interpreters()])
def test_the_same_as_venv_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    interpreter = find_interpreter(pypy()[0] if python == "pypy" else python)
    create_environment(str(tmp_path / "first"), interpreter)
    real = str(tmp_path / "below" / "one-env")
    subprocess.run([interpreter.path, "-I", "-m", "venv", "--without-pip", real], check=True)
    monkeypatch.setattr(create, "_run", refused)
    made = create_environment(str(tmp_path / "another"), interpreter)
    assert tree(made.path) == tree(real)
    version = subprocess.check_output([f"{made.path}/bin/python", "-c", "import sys; print(sys.prefix)"])
    assert version.decode().strip() == made.path


def test_a_path_that_wants_quotes_is_venvs_own(tmp_path: Path) -> None:
    interpreter = find_interpreter(sys.executable)
    for name in ("first", "with blank", "quo'te"):
        made = create_environment(str(tmp_path / name), interpreter)
        command = '. "$0/bin/activate" && python -c "import sys; print(sys.prefix)"'
        shown = subprocess.check_output(["bash", "-c", command, made.path], text=True)
        assert shown.strip() == made.path


def test_without_a_cache_venv_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made = create_environment(str(tmp_path / "env"), find_interpreter(sys.executable))
    assert made.interpreter is not None


def test_a_mended_venv_is_asked_anew(tmp_path: Path) -> None:
    module = tmp_path / "venv.py"
    module.write_text("")
    real = find_interpreter(sys.executable)
    interpreter = BaseInterpreter(
        path=real.path,
        implementation=real.implementation,
        version=real.version,
        venv=str(module),
        has_ensurepip=True,
    )
    runs: list[str] = []

    def counted(_: object, path: str) -> None:
        runs.append(path)
        subprocess.run([real.path, "-I", "-m", "venv", "--without-pip", path], check=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(create, "_run_venv", counted)
        for number, mtime in enumerate((1, 1, 2)):
            os.utime(module, (mtime, mtime))
            create_environment(str(tmp_path / f"env-{number}"), interpreter)
    assert len(runs) == 2


def test_empty_folders_of_a_killed_venv_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "env/lib/python3.11/site-packages").mkdir(parents=True)
    interpreter = find_interpreter(sys.executable)
    assert create_environment(str(tmp_path / "env"), interpreter).interpreter is not None
    (tmp_path / "full/lib").mkdir(parents=True)
    (tmp_path / "full/lib/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        create_environment(str(tmp_path / "full"), interpreter)


@pytest.mark.parametrize(
    "path", ["lib/python3.11/site-packages/a/b.py", "bin/x", "share/a", "lib/python3.11/x", "etc", "lib/p/x"]
)
def test_paths_in_record_are_seen_from_site_packages(path: str) -> None:
    scheme = Scheme(site="lib/python3.11/site-packages", python="/python")
    assert scheme.recorded(path) == os.path.relpath(path, scheme.site)
