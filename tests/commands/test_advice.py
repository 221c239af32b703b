"""Hints fit the error, and pipm does not promise work that it cannot do."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, PARTLY, Pipm
from support.process import check
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk, Disks


def test_relative_xdg_folders_are_ignored(tmp_path: Path) -> None:
    """The specification: such a path is invalid."""
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache", "PIPM_STORE": ""}
    pipm = Pipm(store="", cwd=str(tmp_path), environ=environ)
    assert pipm("store", "path").expect().out == f"{tmp_path}/.local/share/pipm\n"
    environment = make_environment(str(tmp_path / "a"))
    install(environment, "alpha==1.0", package("alpha"))
    pipm("adopt", environment.path).expect()
    pipm("list").expect()
    assert sorted(os.listdir(tmp_path)) == [".cache", ".local", "a"]


@pytest.mark.mounts
def test_a_mode_that_failed_is_no_advice(disks: Disks) -> None:
    environment = make_environment(f"{disks.get('xfs').path}/advice/a")
    install(environment, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=f"{disks.get('ext4').path}/advice-store")
    told = pipm("adopt", environment.path, "--link-mode", "hardlink").expect(FAILED).err
    assert "--link-mode finder or symlink" in told
    shutil.rmtree(environment.path)


def test_changed_shared_files_are_told_in_one_line(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    made = []
    for name in "ab":
        environment = make_environment(str(tmp_path / name))
        install(environment, "alpha==1.0", package("alpha"))
        made.append(environment)
    pipm.adopt(*(environment.path for environment in made), mode="hardlink")
    path = made[0].file("alpha/module_1.py")
    os.chmod(path, 0o644)
    with open(path, "ab") as file:
        file.write(b"EDIT = 1\n")
    told = pipm("adopt", made[1].path).expect(PARTLY).err
    assert "1 shared file was changed in place, for all environments: pipm verify --repair" in told
    assert "reinstall" not in told


@pytest.mark.mounts
def test_read_only_environments_are_left_out(filesystem: Disk) -> None:
    for name in ("a", "frozen"):
        environment = make_environment(filesystem / f"all/{name}")
        install(environment, "alpha==1.0", package("alpha"))
    frozen = filesystem / "all/frozen"
    check("mount", "--bind", frozen, frozen)
    check("mount", "-o", "remount,bind,ro", frozen)
    try:
        pipm = Pipm(store=filesystem / "store")
        told = pipm("adopt", "--all", filesystem / "all").expect()
        assert "1 environment left out: read-only" in told.err
        assert pipm("adopt", frozen).expect(FAILED).err.startswith("error:")
    finally:
        check("umount", frozen)


def test_nothing_is_promised_in_environments_of_others(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    for name in "ab":
        environment = make_environment(str(tmp_path / name))
        install(environment, "alpha==1.0", package("alpha"))
    check("chown", "-R", "65534", str(tmp_path / "b"))
    pipm = Pipm(store=str(tmp_path / "store"))
    rows = pipm("list", str(tmp_path), "--json").expect().json["environments"]
    assert ["adopting_frees" in row for row in rows] == [True, False]


@pytest.mark.parametrize("command", ["install", "pip"])
def test_help_needs_no_environment(tmp_path: Path, command: str) -> None:
    told = Pipm(store=str(tmp_path / "store"), cwd=str(tmp_path))(command, "--help").expect()
    assert f"Usage: pipm {command}" in told.out
