"""Environments of each interpreter of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.installers import find_version, venv
from support.locks import pylock
from support.process import check
from support.snapshot import (
    assert_bytecode_names_kept,
    assert_kept,
    bytecode,
    changes,
    fingerprint,
    snapshot,
)
from support.store import damage, still_shared, unshared
from support.synthetic import Environment, import_all, install, make_wheel, package
from support.tools import VERSIONS, any_interpreter, find_interpreter, interpreter, pypy

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm

CODE = "import alpha.module_1 as m; print(m.function_0.__code__.co_filename)"


def filled(path: str, python: str) -> Environment:
    """An environment of some interpreter, with bytecode of two levels of optimisation."""
    check(python, "-m", "venv", "--without-pip", path)
    environment = find_version(path)
    install(environment, "alpha==1.0", package("alpha"))
    environment.compile()
    check(environment.python, "-O", "-m", "compileall", "-q", environment.site)
    return environment


def assert_shared_twice(tmp_path: Path, pipm: Pipm, python: str) -> None:
    """Adopt two environments of one interpreter and check sources, bytecode and imports."""
    first, second = (filled(str(tmp_path / name), python) for name in ("first", "second"))
    before = snapshot(first.path)
    assert len(bytecode(before)) >= 20
    pipm.adopt(first.path, second.path, mode="hardlink")
    assert_kept(before, first.path)
    assert_bytecode_names_kept(before, first.path)
    assert unshared(first.site, pipm.store) == []
    twice = [
        name
        for name in bytecode(before)
        if ".opt-" not in name and not os.path.samefile(f"{first.path}/{name}", f"{second.path}/{name}")
    ]
    assert twice == []
    for environment in (first, second):
        fresh = fingerprint(environment.path)
        assert environment.run(CODE).strip() == environment.file("alpha/module_1.py")
        assert environment.run(CODE, "-O").strip() == environment.file("alpha/module_1.py")
        assert changes(fresh, fingerprint(environment.path)) == []
    assert damage(pipm.store) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_cpython(tmp_path: Path, pipm: Pipm, version: str) -> None:
    assert_shared_twice(tmp_path, pipm, interpreter(version))


def test_pypy(tmp_path: Path, pipm: Pipm) -> None:
    assert_shared_twice(tmp_path, pipm, pypy()[0])


def test_environments_of_many_interpreters_share_their_sources(tmp_path: Path, pipm: Pipm) -> None:
    found = [python for version in VERSIONS if (python := find_interpreter(version))]
    if len(found) < 2:
        pytest.skip("only one CPython here")
    environments = [filled(str(tmp_path / f"env{n}"), python) for n, python in enumerate(found)]
    pipm.adopt(*(environment.path for environment in environments), mode="hardlink")
    inodes = {os.stat(e.file("alpha/module_1.py")).st_ino for e in environments}
    assert len(inodes) == 1
    for environment in environments:
        fresh = fingerprint(environment.path)
        environment.run(CODE)
        assert changes(fresh, fingerprint(environment.path)) == []


def test_compile_uses_the_environments_interpreter(tmp_path: Path, pipm: Pipm) -> None:
    """With `--compile` the store compiles with the environment's interpreter, not with ours."""
    python = find_interpreter("3.9") or find_interpreter("3.12") or interpreter("3.11")
    environment = venv(str(tmp_path / "env"), python=python, pip=False)
    install(environment, "alpha==1.0", package("alpha"))
    pipm("adopt", environment.path, "--link-mode", "hardlink", "--compile").expect()
    assert os.path.exists(environment.bytecode("alpha/module_1.py"))
    fresh = fingerprint(environment.path)
    import_all(environment)
    environment.run(CODE)
    assert changes(fresh, fingerprint(environment.path)) == []


@pytest.mark.parametrize("version", [*VERSIONS, "pypy3.11"])
def test_every_command(tmp_path: Path, pipm: Pipm, version: str) -> None:
    """Sync in each mode, then adopt and release; the wrapped pip; run."""
    python = any_interpreter(version)
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha", modules=2))
    lock = pylock(str(tmp_path), [wheel])
    for mode in ("copy", "symlink", "hardlink", "finder"):
        path = str(tmp_path / mode)
        pipm("sync", lock, "--env", path, "--python", python, "--link-mode", mode).expect()
        assert "alpha/module_1.py" in find_version(path).run(CODE)
    for path, mode in ((str(tmp_path / "copy"), "hardlink"), (str(tmp_path / "symlink"), "finder")):
        env = find_version(path)
        pipm.adopt(path, mode=mode)
        assert "alpha/module_1.py" in env.run(CODE)
        pipm.release(path)
        assert still_shared(path) == []
        assert env.run(CODE).strip() == env.file("alpha/module_1.py")
    path = str(tmp_path / "wrapped")
    pipm("venv", path, "--python", python).expect()
    wrapped = find_version(path)
    check(wrapped.python, "-m", "pip", "install", "-q", "--no-index", wheel)
    assert unshared(wrapped.file("alpha"), pipm.store) == []
    done = pipm("run", "--lock", lock, "--python", python, "python", "-c", CODE).expect()
    assert "alpha/module_1.py" in done.out
    assert damage(pipm.store) == []
