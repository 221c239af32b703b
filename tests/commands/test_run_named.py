"""Named environments, stacked environments, and environments that follow their lock."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import Pipm, assert_says
from support.runs import environments, make_runner, publish
from support.snapshot import changes, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

SHOW = """
import importlib.metadata as m, sys, tool, leaf
print(tool.VERSION, leaf.VERSION, m.version('tool'), m.version('leaf'))
files = [str(m.distribution(n).locate_file(f)) for n in ('tool', 'leaf') for f in m.files(n)]
import os; print([f for f in files if not os.path.exists(f)])
print(len([d for d in m.distributions() if d.name == 'tool']), sys.prefix == sys.argv[1])
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.fixture
def pipm(folder: str) -> Pipm:
    return make_runner(folder)


def science(folder: str, pipm: Pipm, mode: str) -> str:
    """Make @science of tool 1 and leaf 1, and a lock of tool 2; returns the environment's path."""
    data = publish(folder, "leaf==1")
    lock = pylock(f"{folder}/shared", [publish(folder, "tool==1"), data])
    pylock(f"{folder}/project", [publish(folder, "tool==2")])
    pipm("sync", lock, "--env", "@science", "--link-mode", mode).expect()
    return os.path.realpath(f"{folder}/data/pipm-environments/science")


def test_a_released_one_stays_in_the_list(folder: str, pipm: Pipm) -> None:
    path = science(folder, pipm, "hardlink")
    pipm("release", "@science").expect()
    assert [row["path"] for row in pipm("list", "--json").expect().json["environments"]] == [path]
    assert path in pipm("list", "--uses", "tool", "--json").expect().out
    assert path not in pipm("list", "--uses", "other", "--json").expect().out


def test_a_named_environment_is_used_from_anywhere(folder: str, pipm: Pipm) -> None:
    lock = pylock(f"{folder}/shared", [publish(folder, "tool==1"), publish(folder, "leaf==1")])
    pylock(f"{folder}/project", [publish(folder, "tool==2")])
    assert "pipm run -e @science" in pipm("venv", "@science", "--lock", lock).expect().err
    path = os.path.realpath(f"{folder}/data/pipm-environments/science")
    before = fingerprint(path)
    assert pipm("run", "-e", "@science", "tool").expect().out == "tool 1\n"
    done = pipm("run", "-e", "@science", "python", "-c", "import sys; print(sys.prefix)").expect()
    assert done.out == f"{path}\n"
    assert [name for name in changes(before, fingerprint(path)) if "__pycache__" not in name] == []
    wheel = publish(folder, "more==1")
    pipm("install", "--env", "@science", "--no-index", wheel).expect()
    assert pipm("run", "-e", "@science", "more").expect().out == "more 1\n"
    assert pipm("sync", f"{folder}/project/pylock.toml", "--env", "@science").expect().code == 0
    assert pipm("run", "-e", "@science", "tool").expect().out == "tool 2\n"
    pipm("adopt", "@science").expect()
    pipm("release", "@science").expect()
    assert not os.path.exists(f"{folder}/cache/pipm/environments")


@pytest.mark.parametrize("mode", ["auto", "finder"])
def test_a_project_stands_over_a_named_one(folder: str, pipm: Pipm, mode: str) -> None:
    path = science(folder, pipm, mode)
    lock = f"{folder}/project/pylock.toml"
    words = ("run", "--lock", lock, "--env", "@science")
    done = pipm(*words, "python", "-c", SHOW, "x").expect()
    assert done.out == "2 1 2 1\n[]\n2 False\n"
    # Programs of both see both.
    assert pipm(*words, "tool").expect().out == "tool 2\n"
    code = "import subprocess; subprocess.run(['leaf'])"
    assert pipm(*words, "python", "-c", code).expect().out == "leaf 1\n"
    (name,) = environments(folder)
    with open(f"{folder}/cache/pipm/environments/{name}/bin/leaf", encoding="utf-8") as stream:
        assert f"{folder}/cache/pipm/environments/{name}/bin/python" in stream.read()
    # What is installed below later is there above.
    pipm("pip", "install", "--env", path, "--no-index", publish(folder, "more==1")).expect()
    assert pipm(*words, "more").expect().out == "more 1\n"
    # Requirements go with what is there; the same version is not there twice.
    publish(folder, "top==1", "leaf")
    show = (
        "import top, leaf, importlib.metadata as m; print([d.name for d in m.distributions()].count('leaf'))"
    )
    assert pipm("run", "--with", "top", "-e", "@science", "python", "-c", show).expect().out == "1\n"
    both = pipm("run", "--lock", lock, "--with", "top", "-e", "@science", "python", "-c", SHOW, "x").expect()
    assert both.out == "2 1 2 1\n[]\n2 False\n"


def test_two_environments_of_ones_own(folder: str, pipm: Pipm) -> None:
    path = science(folder, pipm, "auto")
    pipm(
        "sync", f"{folder}/project/pylock.toml", "--env", f"{folder}/.venv", "--link-mode", "finder"
    ).expect()
    words = ("run", "-e", f"{folder}/.venv", "-e", "@science")
    assert pipm(*words, "python", "-c", SHOW, path).expect().out == "2 1 2 1\n[]\n2 False\n"
    other = ("run", "-e", "@science", "-e", f"{folder}/.venv")
    assert pipm(*other, "python", "-c", SHOW, path).expect().out == "1 1 1 1\n[]\n2 False\n"


def test_data_of_the_lower_one_is_found(folder: str, pipm: Pipm) -> None:
    path = science(folder, pipm, "auto")
    os.makedirs(f"{path}/share/kernels")
    with open(f"{path}/share/kernels/k.json", "w", encoding="utf-8") as stream:
        stream.write("{}")
    code = "import os, sys; print(os.path.exists(sys.prefix + '/share/kernels/k.json'))"
    words = ("run", "--lock", f"{folder}/project/pylock.toml", "-e", "@science")
    assert pipm(*words, "python", "-c", code).expect().out == "True\n"


@pytest.mark.parametrize("mode", ["auto", "finder"])
def test_run_syncs_what_its_lock_left_behind(folder: str, pipm: Pipm, mode: str) -> None:
    lock = pylock(folder, [publish(folder, "tool==1")])
    pipm("sync", "--link-mode", mode, "--no-compile").expect()
    code = "import tool; print(tool.VERSION)"
    run = ("run", "--env", ".venv", "python", "-c", code)
    assert (pipm(*run).expect().out, pipm(*run).err) == ("1\n", "")
    pylock(folder, [publish(folder, "tool==2")])
    refused = make_runner(folder, PIPM_STALE="error")(*run).expect(1)
    assert_says(refused)
    assert make_runner(folder, PIPM_STALE="ignore")(*run).expect().out == "1\n"
    done = pipm(*run).expect()
    assert done.out == "2\n"
    assert done.err == f"note: {lock} changed: synced {folder}/.venv, 1 change\n"
    assert (pipm(*run).out, pipm(*run).err) == ("2\n", "")
    # By the same options as before.
    again = pipm("sync", "--link-mode", mode, "--no-compile", "--json").expect().json
    assert (again["added"], again["replaced"], again["unchanged"]) == ([], [], 1)


def test_bad_names_and_places(folder: str, pipm: Pipm) -> None:
    for words in (
        ("run", "-e", "@", "python"),
        ("run", "-e", "@../x", "python"),
        ("run", "-e", "@nobody", "python"),
        ("venv", "@a/b"),
    ):
        assert_says(pipm(*words).expect(2))
    assert_says(pipm("run", "-e", folder, "python").expect(1))
    assert "pipm venv @nobody" in pipm("run", "-e", "@nobody", "python").err
