"""`--no-dist-info`: only the finder lists the distributions; few inodes, and its disadvantages."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.imports import answers_of, differences
from support.locks import pylock
from support.pairs import DISTRIBUTIONS, NAMES, fill, make_pair
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import assert_kept, snapshot
from support.store import damage
from support.synthetic import Environment, install, make_environment, make_wheel, package
from support.tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from support.pairs import Pair

SERVED = [spec for spec in DISTRIBUTIONS if not spec.startswith(("legacy", "whole", "plug", "folders"))]
HIDE = ("--link-mode", "finder", "--no-dist-info")


def metadata_folders(environment: Environment) -> list[str]:
    return [name for name in os.listdir(environment.site) if name.endswith(".dist-info")]


def inodes(folder: str) -> int:
    return len(
        {
            os.lstat(os.path.join(above, name)).st_ino
            for above, folders, names in os.walk(folder)
            for name in [*folders, *names]
        }
    )


def told(environment: Environment, *options: str) -> dict[str, Any]:
    """Return its answers, without those that need a metadata folder: RECORD and its kin are not files."""
    answers = answers_of(environment, NAMES, *options)
    answers.pop("contents")
    for files in answers["files"].values():
        files[:] = [name for name in files if not name.endswith(("/RECORD", "/INSTALLER", "/REQUESTED"))]
    return answers


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = make_pair(str(tmp_path))
    made.pipm("adopt", made.finder.path, *HIDE).expect()
    return made


def test_imports_and_metadata_are_the_same(pair: Pair) -> None:
    assert len(metadata_folders(pair.finder)) == len(DISTRIBUTIONS) - len(SERVED)
    for options in ((), ("-I",)):
        one, other = (told(e, *options) for e in (pair.flat, pair.finder))
        assert differences(one, other) == {}
    code = "import importlib.metadata as m; print(m.version('Tool'), m.version('space_one'), m.version('no'))"
    # Python 3.15 adds a name that is spelled nearly so.
    assert (
        "No package metadata was found for no" in run(pair.finder.python, "-c", code).stderr.splitlines()[-1]
    )


def test_under_thirty_inodes(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    for number in range(60):
        install(environment, f"dist-{number}==1", package(f"dist_{number}", modules=2))
    environment.compile()
    before = snapshot(environment.path)
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm("adopt", environment.path, *HIDE).expect()
    assert inodes(environment.path) < 30
    count = "len(list(importlib.metadata.distributions()))"
    assert environment.run(f"import dist_59.module_1, importlib.metadata; print({count})") == "60\n"
    (row,) = pipm("list", "--json").expect().json["environments"]
    assert row["distributions"] == 60
    pipm("gc", "--keep", "0s").expect()
    assert "adopted" in pipm("adopt", environment.path).expect().out.lower()
    assert inodes(environment.path) < 30  # it stays so
    pipm.release(environment.path)
    assert_kept(before, environment.path)


def test_release_and_folders_again(pair: Pair) -> None:
    one = told(pair.flat)
    pair.pipm.release("--dist", "tool", pair.finder.path)
    assert os.path.isfile(pair.finder.file("tool/__init__.py"))
    assert "space_one-1.dist-info" not in metadata_folders(pair.finder)
    assert differences(one, told(pair.finder)) == {}
    pair.pipm("adopt", pair.finder.path, "--link-mode", "finder", "--dist-info").expect()
    assert len(metadata_folders(pair.finder)) == len(DISTRIBUTIONS)
    assert not os.path.exists(f"{pair.finder.path}/.pipm/finder/metadata")
    assert differences(one, told(pair.finder)) == {}


def test_sync(tmp_path: Path) -> None:
    wheels = [make_wheel(str(tmp_path / "wheels"), spec, DISTRIBUTIONS[spec]) for spec in SERVED]
    lock = pylock(str(tmp_path), wheels)
    pipm = Pipm(store=str(tmp_path / "store"))
    flat, finder = (Environment(path=str(tmp_path / name)) for name in ("flat", "finder"))
    pipm("sync", lock, "--env", flat.path).expect()
    pipm("sync", lock, "--env", finder.path, *HIDE).expect()
    one, other = (told(e) for e in (flat, finder))
    one.pop("texts"), other.pop("texts")  # RECORD has no bytecode where there is none
    assert metadata_folders(finder) == []
    assert differences(one, other) == {}
    assert check(f"{finder.path}/bin/tool") == "tool runs\n"
    again = pipm("sync", lock, "--env", finder.path, "-n", "--json").expect().json
    assert (again["added"], again["removed"], again["unchanged"]) == ([], [], len(SERVED))
    fewer = pylock(str(tmp_path / "later"), [wheel for wheel in wheels if "tool-3" not in wheel])
    plan = pipm("sync", fewer, "--env", finder.path, "-n", "--json").expect().json
    assert [row["name"] for row in plan["removed"]] == ["tool"]
    done = pipm("sync", fewer, "--env", finder.path, "--json").expect().json
    assert [row["name"] for row in done["removed"]] == ["tool"]
    assert done["unchanged"] == len(SERVED) - 1
    assert metadata_folders(finder) == []
    assert not os.path.exists(f"{finder.path}/bin/tool")
    assert told(finder)["import tool"] == "ModuleNotFoundError: No module named 'tool'"


def test_a_second_sync_lets_the_folders_stay_away(tmp_path: Path) -> None:
    """It reads the stored metadata instead of creating the folders and removing them again."""
    finder = Environment(path=str(tmp_path / "finder"))
    pipm = Pipm(store=str(tmp_path / "store"))
    specs = [spec for spec in DISTRIBUTIONS if not spec.startswith("legacy")]
    lock = pylock(
        str(tmp_path), [make_wheel(str(tmp_path / "wheels"), spec, DISTRIBUTIONS[spec]) for spec in specs]
    )
    command = ("sync", lock, "--env", finder.path, *HIDE, "--json")
    pipm(*command).expect()
    archive = f"{finder.path}/.pipm/finder/metadata"
    before = os.stat(archive).st_ino
    done = pipm(*command).expect().json
    assert (done["added"], done["repaired"], done["unchanged"]) == ([], [], len(specs))
    assert os.stat(archive).st_ino == before
    os.unlink(f"{finder.path}/bin/tool")
    done = pipm(*command).expect().json
    assert [row["name"] for row in done["repaired"]] == ["tool"]
    assert os.path.exists(f"{finder.path}/bin/tool")
    assert not any(name.startswith("tool-") for name in os.listdir(finder.site))


def test_it_needs_the_finder(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    fill(environment)
    pipm = Pipm(store=str(tmp_path / "store"))
    result = pipm("adopt", environment.path, "--no-dist-info", "--json")
    assert result.code == 2
    assert "--link-mode finder" in result.error["hint"]
    wheel = make_wheel(str(tmp_path / "wheels"), "single==2.0", DISTRIBUTIONS["single==2.0"])
    lock = pylock(str(tmp_path), [wheel])
    result = pipm("sync", lock, "--env", str(tmp_path / "new"), "--no-dist-info", "--json")
    assert result.code == 2
    assert "--link-mode finder" in result.error["hint"]


def test_a_killed_run_leaves_both(pair: Pair) -> None:
    """Folders beside the file that they were put into: while they go, and while they come back."""
    one = told(pair.flat)
    archive = f"{pair.finder.path}/.pipm/finder/metadata"
    shutil.copy(archive, f"{archive}.kept")
    pair.pipm("adopt", pair.finder.path, "--link-mode", "finder", "--dist-info").expect()
    os.rename(f"{archive}.kept", archive)
    os.unlink(pair.finder.file("tool-3.dist-info/RECORD"))
    shutil.rmtree(pair.finder.file("single-2.0.dist-info"))
    pair.pipm("adopt", pair.finder.path).expect()
    assert differences(one, told(pair.finder)) == {}
    assert len(metadata_folders(pair.finder)) == len(DISTRIBUTIONS) - len(SERVED)
    assert damage(pair.pipm.store) == []


def test_what_pip_and_uv_make_of_it(tmp_path: Path) -> None:
    """pip lists all, uninstalls none and installs beside; uv sees nothing; the store is not touched."""
    environment = Environment(path=str(tmp_path / "env"))
    check(os.path.realpath(sys.executable), "-m", "venv", environment.path)
    fill(environment)
    pipm = Pipm(store=str(tmp_path / "store"))
    listed = check(environment.python, "-m", "pip", "list", "--format=freeze")
    shown = check(environment.python, "-m", "pip", "show", "-f", "tool")
    pipm("adopt", environment.path, *HIDE).expect()
    assert check(environment.python, "-m", "pip", "list", "--format=freeze") == listed
    check(environment.python, "-m", "pip", "check")
    assert (
        shown.partition("Files:")[2]
        == check(environment.python, "-m", "pip", "show", "-f", "tool").partition("Files:")[2]
    )
    stored = snapshot(f"{pipm.store}/v1/wheels")
    done = run(environment.python, "-m", "pip", "uninstall", "-y", "tool")
    assert "outside environment" in done.stdout + done.stderr
    assert "tool runs" in environment.run("import tool; tool.main()")
    wheel = make_wheel(str(tmp_path), "tool==4", {"tool/__init__.py": b"def main(): print('four')\n"})
    check(environment.python, "-m", "pip", "install", "-q", "--no-index", wheel)
    assert environment.run("import tool; tool.main()") == "four\n"
    find = "print(m.version('tool'), [d.version for d in m.distributions(name='tool')])"
    code = f"import importlib.metadata as m; {find}"
    assert environment.run(code) == "4 ['4']\n"
    assert "tool==4" in check(environment.python, "-m", "pip", "list", "--format=freeze")
    pipm("adopt", environment.path).expect()
    assert environment.run(code) == "4 ['4']\n"
    assert snapshot(f"{pipm.store}/v1/wheels").items() >= stored.items()
    uv = check(find_tool("uv"), "pip", "list", "-q", "--python", environment.python)
    assert "alpha" not in uv
