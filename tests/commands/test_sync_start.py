"""A sync with nothing to do imports only what it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.process import check
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm

CODE = """
import os, sys
before, end = set(sys.modules), os._exit
os._exit = lambda code: (print(*set(sys.modules) - before, flush=True), end(code))
from pipm.__main__ import main
main()
"""
SLOW = {"typing", "re", "enum", "json", "ctypes", "shutil", "dataclasses", "signal", "base64", "subprocess"}
"""Modules that take a millisecond or more of a command that takes 40."""
APART = ("pipm.sync.full", "pipm.wheel", "pipm.bytecode", "pipm.fs.reflinks")


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_nothing_to_do_imports_little(tmp_path: Path, pipm: Pipm, mode: str) -> None:
    wheel = make_wheel(f"{tmp_path}/wheels", "alpha==1.0", {"alpha.py": b"VALUE = 1\n"})
    lock = pylock(str(tmp_path), [wheel])
    pipm("store", "add", wheel).expect()
    pipm("sync", lock, "--env", f"{tmp_path}/env", "--link-mode", mode).expect()
    command = [sys.executable, "-c", CODE, "--store", pipm.store, "sync", "--env", f"{tmp_path}/env"]
    options = ["--link-mode", mode] if mode == "finder" else []
    for _ in range(2):  # one notes other options, one the values of the files of JSON
        check(*command, *options, cwd=str(tmp_path))
    *_, done, modules = check(*command, *options, cwd=str(tmp_path)).splitlines()
    assert done.startswith("Nothing to do")
    loaded = set(modules.split())
    assert loaded & SLOW == ({"enum"} if options else set())  # of the link modes
    assert len([name for name in loaded if name.split(".")[0] == "pipm"]) <= 64
    apart = APART if options else (*APART, "pipm.fs.link_modes")
    assert not [name for name in loaded if name.startswith(apart)]


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_a_known_lock_in_a_new_environment_imports_no_reader(tmp_path: Path, pipm: Pipm, mode: str) -> None:
    wheel = make_wheel(f"{tmp_path}/wheels", "alpha==1.0", {"alpha.py": b"VALUE = 1\n"})
    lock = pylock(str(tmp_path), [wheel])
    pipm("store", "add", wheel).expect()
    options = ["--link-mode", mode]
    pipm("sync", lock, "--env", f"{tmp_path}/env", *options).expect()
    command = [sys.executable, "-c", CODE, "--store", pipm.store, "sync", lock, "--env", f"{tmp_path}/new"]
    *_, modules = check(*command, *options, cwd=str(tmp_path)).splitlines()
    loaded = set(modules.split())
    assert "pipm.sync.materialise_worker" in loaded
    assert loaded & {"typing", "dataclasses", "shutil", "subprocess", "tomllib"} == set()
