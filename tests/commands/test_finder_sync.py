"""Environments that `pipm sync` makes with the finder, by request and by its own choice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from glob import glob
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.locks import pylock
from support.pairs import DISTRIBUTIONS, NAMES, PATH_FILES, REAL, fill, modules_in
from support.pipm import Pipm
from support.process import check
from support.store import damage
from support.synthetic import Environment, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.disks import Disks

SPECS = [spec for spec in DISTRIBUTIONS if not spec.startswith("legacy")]  # two wheels, one file: refused
KNOWN = [name for name in NAMES if not name.startswith("legacy")]


@contextmanager
def mounted(path: str, *options: str) -> Iterator[str]:
    """A small file system in memory; skips where nothing can be mounted."""
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no mounts")
    try:
        yield path
    finally:
        check("umount", "-l", path)


def lock_of(folder: str, specs: list[str]) -> str:
    wheels = [make_wheel(f"{folder}/wheels", spec, DISTRIBUTIONS[spec]) for spec in specs]
    return pylock(folder, wheels)


def sync(pipm: Pipm, lock: str, path: str, *options: str) -> dict[str, object]:
    return pipm("sync", lock, "--env", path, "--json", *options).expect().json


def test_the_same_lock_with_and_without_the_finder(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    lock = lock_of(str(tmp_path), SPECS)
    flat, finder = Environment(path=str(tmp_path / "flat")), Environment(path=str(tmp_path / "finder"))
    sync(pipm, lock, flat.path)
    assert sync(pipm, lock, finder.path, "--link-mode", "finder")["link_mode"] == "finder"
    assert modules_in(finder) == (REAL - {"legacy"}) | PATH_FILES
    one, other = (answers_of(e, KNOWN) for e in (flat, finder))
    one.pop("texts"), other.pop("texts")  # RECORD has no bytecode where there is none
    assert differences(one, other) == {}
    assert "tool runs" in check(f"{finder.path}/bin/tool")
    again = sync(pipm, lock, finder.path)
    assert (again["link_mode"], again["added"], again["unchanged"]) == ("finder", [], len(SPECS))
    assert not any(os.path.islink(finder.file("tool-3.dist-info/METADATA")) for _ in "1")
    assert damage(pipm.store) == []


def test_a_lock_that_changes(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    finder = Environment(path=str(tmp_path / "finder"))
    sync(pipm, lock_of(str(tmp_path), SPECS), finder.path, "--link-mode", "finder")
    fewer = [spec for spec in SPECS if spec.partition("==")[0] not in ("tool", "plug")]
    preview = sync(pipm, lock_of(str(tmp_path / "later"), fewer), finder.path, "--dry-run")
    done = sync(pipm, lock_of(str(tmp_path / "later"), fewer), finder.path)
    assert [preview[key] for key in ("repaired", "removed")] == [done[key] for key in ("repaired", "removed")]
    removed = done["removed"]
    assert isinstance(removed, list)
    assert sorted(row["name"] for row in removed) == ["plug", "tool"]
    answers = answers_of(finder, KNOWN)
    assert answers["import tool"] == "ModuleNotFoundError: No module named 'tool'"
    assert answers["import mono.core"][0] == "mono.core"
    back = sync(pipm, lock_of(str(tmp_path / "again"), SPECS), finder.path)
    assert back["link_mode"] == "finder"
    answers = answers_of(finder, KNOWN)
    assert answers["import tool"][0] == "tool"
    assert answers["import mono.plugins.extra"][0] == "mono.plugins.extra"
    pipm("gc", "--keep", "0s").expect()
    assert answers_of(finder, KNOWN) == answers


def test_released_it_is_an_ordinary_environment(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    lock = lock_of(str(tmp_path), SPECS)
    finder = Environment(path=str(tmp_path / "finder"))
    sync(pipm, lock, finder.path, "--link-mode", "finder")
    before = answers_of(finder, KNOWN)
    pipm.release(finder.path)
    shutil.rmtree(pipm.store)
    assert os.path.isfile(finder.file("tool/classes.py"))
    assert differences(before, answers_of(finder, KNOWN)) == {}


@pytest.mark.mounts
def test_another_file_system_gets_the_finder(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    with mounted(str(tmp_path / "memory")) as memory:
        flat, finder = make_environment(str(tmp_path / "flat")), make_environment(f"{memory}/adopted")
        fill(flat)
        fill(finder)
        assert "using the finder" in pipm("adopt", finder.path).expect().err
        assert pipm.adopt(finder.path).environment["link_mode"] == "finder"
        assert differences(*(answers_of(e, NAMES) for e in (flat, finder))) == {}
        pipm.release(finder.path)
        assert differences(*(answers_of(e, NAMES) for e in (flat, finder))) == {}
        made = Environment(path=f"{memory}/synced")
        assert sync(pipm, lock_of(str(tmp_path), SPECS), made.path)["link_mode"] == "finder"
        assert answers_of(made, KNOWN)["import space.two"][0] == "space.two"


@pytest.mark.mounts
def test_a_new_environment_on_another_file_system_gets_the_finder(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    lock = lock_of(str(tmp_path), SPECS)
    with mounted(str(tmp_path / "memory")) as memory:
        made = Environment(path=f"{memory}/env")
        said = pipm("venv", made.path, "--lock", lock).expect().err
        assert "using the finder" in said
        assert "shares nothing" not in said
        assert "tool" not in modules_in(made)
        assert answers_of(made, KNOWN)["import space.two"][0] == "space.two"
        assert "pip" in check(f"{made.path}/bin/python", "-m", "pip", "--version")
        again = sync(pipm, lock, made.path)
        assert (again["link_mode"], again["added"], again["removed"]) == ("finder", [], [])


def test_without_bytecode_none_is_made_in_the_store(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    lock, path = lock_of(str(tmp_path), SPECS), str(tmp_path / "finder")

    def compiled() -> list[str]:
        return [
            folder
            for folder, _, names in os.walk(f"{pipm.store}/v1/wheels")
            if folder.endswith("__pycache__") or any(name.startswith("compiled-") for name in names)
        ]

    sync(pipm, lock, path, "--link-mode", "finder", "--no-compile")
    assert compiled() == []
    assert answers_of(Environment(path=path), KNOWN)["import space.two"][0] == "space.two"
    assert compiled() == []
    sync(pipm, lock, path, "--link-mode", "finder")
    assert compiled() != []


TORN: dict[str, Callable[[bytes], bytes | None]] = {
    "zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "short": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "gone": lambda _: None,
}


@pytest.mark.parametrize("how", TORN)
@pytest.mark.parametrize("what", ["cpython*.table", "_pipm_finder.py", "receipt.json", "000_pipm*.pth"])
def test_a_finder_that_is_damaged_is_mended(tmp_path: Path, what: str, how: str) -> None:
    """A power cut may tear what nobody waited for; the next sync looks."""
    pipm = Pipm(store=str(tmp_path / "store"))
    lock, finder = lock_of(str(tmp_path), SPECS), Environment(path=str(tmp_path / "finder"))
    sync(pipm, lock, finder.path, "--link-mode", "finder")
    before = answers_of(finder, KNOWN)
    (path, *_) = glob(f"{finder.path}/.pipm/finder/{what}") + glob(f"{finder.site}/{what}")
    with open(path, "rb") as stream:
        torn = TORN[how](stream.read())
    os.unlink(path)
    if torn is not None:
        with open(path, "wb") as stream:
            stream.write(torn)
    sync(pipm, lock, finder.path, "--link-mode", "finder")
    assert differences(before, answers_of(finder, KNOWN)) == {}
    receipt = os.stat(f"{finder.path}/.pipm/finder/receipt.json").st_ino
    sync(pipm, lock, finder.path, "--link-mode", "finder")
    assert os.stat(f"{finder.path}/.pipm/finder/receipt.json").st_ino == receipt  # nothing was to be done


@pytest.mark.mounts
def test_too_few_inodes_get_the_finder(tmp_path: Path, disks: Disks) -> None:
    """ext4 made with few inodes, the store on it: links would work, but for the folders that they need."""
    names = [f"many-{number}" for number in range(6)]
    wheels = []
    for name in names:
        files = {f"{name.replace('-', '_')}/d{n}/x.py": f"X = '{name} {n}'\n".encode() for n in range(12)}
        wheels.append(make_wheel(str(tmp_path / "wheels"), f"{name}==1", files))
    lock = pylock(str(tmp_path), wheels)
    with disks.small("ext4", size="32M", name="few", options=("-N", "2000")) as disk:
        pipm = Pipm(store=disk / "store")
        for wheel in wheels:
            pipm("store", "add", wheel).expect()
        free = os.statvfs(disk.path).f_favail
        for number in range(free - 150):
            os.mknod(disk / f"taken-{number}")
        env = Environment(path=disk / "env")
        said = pipm("sync", lock, "--env", env.path).expect().err
        assert f"too few free inodes for links: using the finder for {env.path}" in said
        assert "too few free inodes for bytecode" in said
        assert sync(pipm, lock, env.path)["link_mode"] == "finder"
        assert env.run("import many_3.d7.x as x; print(x.X)") == "many-3 7\n"
        assert (
            os.statvfs(disk.path).f_favail > 50
        )  # the other 100: a venv, its metadata, one import's bytecode


def test_pip_of_the_environment(tmp_path: Path) -> None:
    """pip lists, checks and uninstalls what the finder serves, and touches nothing in the store."""
    environment = Environment(path=str(tmp_path / "env"))
    check(os.path.realpath(sys.executable), "-m", "venv", environment.path)
    fill(environment)
    install(environment, "needed==1", package("needed"))
    pipm = Pipm(store=str(tmp_path / "store"))
    listed = check(environment.python, "-m", "pip", "list", "--format=freeze")
    pipm.adopt(environment.path, mode="finder")
    assert check(environment.python, "-m", "pip", "list", "--format=freeze") == listed
    check(environment.python, "-m", "pip", "check")
    stored = sorted(os.listdir(f"{pipm.store}/v1/objects"))
    check(environment.python, "-m", "pip", "uninstall", "-q", "-y", "needed", "tool")
    assert sorted(os.listdir(f"{pipm.store}/v1/objects")) == stored
    assert damage(pipm.store) == []
    assert answers_of(environment, ["tool", "needed"])["import tool"].startswith("ModuleNotFoundError")
    wheel = make_wheel(str(tmp_path), "tool==3", DISTRIBUTIONS["tool==3"])
    check(environment.python, "-m", "pip", "install", "-q", "--no-index", wheel)
    assert os.path.isfile(environment.file("tool/__init__.py"))
    assert "tool runs" in environment.run("import tool; tool.main()")


def test_pip_that_the_finder_serves_stays_when_a_lock_is_followed(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    lock = lock_of(str(tmp_path), ["alpha==1.0"])
    path = str(tmp_path / "env")
    pipm("venv", path, "--link-mode", "finder", "--lock", lock).expect()
    environment = Environment(path=path)
    pipm("gc", "--keep", "0").expect()
    for _ in range(2):
        assert check(environment.python, "-m", "pip", "--version").startswith("pip ")
        assert environment.run("import alpha; print(alpha.NAME)") == "alpha\n"
        pipm("sync", lock, "--env", path).expect()
        pipm("gc", "--keep", "0").expect()
