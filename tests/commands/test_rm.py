"""`pipm rm` deletes environments and nothing else; `pipm sync --check` changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import FAILED, PARTLY, USAGE, Pipm, assert_refused
from support.process import clean_environ, run
from support.runs import make_runner, publish
from support.snapshot import assert_kept, changes, fingerprint, snapshot
from support.synthetic import Environment, install, make_environment, package, write

if TYPE_CHECKING:
    from pathlib import Path


def with_alpha(path: Path) -> Environment:
    environment = make_environment(str(path))
    install(environment, "alpha==1.0", package("alpha"))
    return environment


def test_an_environment_is_deleted(tmp_path: Path, pipm: Pipm) -> None:
    gone, stays = with_alpha(tmp_path / "a"), with_alpha(tmp_path / "b")
    pipm.adopt(gone.path, stays.path)
    before = snapshot(stays.path)
    assert "Would" not in pipm("rm", "-n", gone.path).expect().out
    assert os.path.exists(gone.python)
    (row,) = pipm("rm", "--yes", gone.path, "--json").expect().json["environments"]
    assert row["path"] == gone.path
    assert row["freed"] > 0
    assert sorted(os.listdir(tmp_path)) == ["b", "store"]
    assert_kept(before, stays.path)
    assert [one["path"] for one in pipm("list", "--json").json["environments"]] == [stays.path]
    told = pipm("rm", "-y", stays.path).expect()
    assert "Deleted 1 environment, freed" in told.out
    assert "pipm gc --keep 0" in told.err
    pipm("gc", "--keep", "0").expect()
    assert pipm("store", "ls").expect().out == ""


def test_a_kernel_of_it_is_named(tmp_path: Path, pipm: Pipm, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = with_alpha(tmp_path / "a")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    spec = json.dumps({"argv": [gone.python, "-m", "ipykernel_launcher"]})
    write(str(tmp_path / "jupyter/kernels/mine/kernel.json"), spec.encode())
    assert "jupyter kernelspec remove mine" in pipm("rm", "-n", gone.path).expect().err
    assert "jupyter kernelspec remove mine" in pipm("rm", "-y", gone.path).expect().err
    assert os.path.exists(tmp_path / "jupyter/kernels/mine/kernel.json")


def test_what_is_no_environment_alone_stays(tmp_path: Path, pipm: Pipm) -> None:
    project = with_alpha(tmp_path / "project")  # python -m venv . in the project's folder
    write(f"{project.path}/app.py", b"x = 1\n")
    write(str(tmp_path / "plain/file"), b"")
    write(str(tmp_path / "conda/conda-meta/history"), b"")
    write(str(tmp_path / "conda/lib/python3.11/site-packages/x.py"), b"")
    with_alpha(tmp_path / "web/.venv")
    os.symlink("web/.venv", tmp_path / "link")
    before = fingerprint(str(tmp_path))
    assert_refused(pipm("rm", "-y", project.path, "--json"), "app.py", code=USAGE)
    assert_refused(pipm("rm", "-y", str(tmp_path / "plain"), "--json"), "plain", code=FAILED)
    assert_refused(pipm("rm", "-y", str(tmp_path / "web"), "--json"), "web", code=FAILED)
    assert_refused(pipm("rm", "-y", str(tmp_path / "link"), "--json"), "web/.venv", code=USAGE)
    assert_refused(pipm("rm", "-y", str(tmp_path / "conda"), "--json"), "conda", code=USAGE)
    assert changes(before, fingerprint(str(tmp_path))) == []
    pipm("rm", "-y", str(tmp_path / "plain"), str(tmp_path / "web/.venv")).expect(PARTLY)
    assert not os.path.exists(tmp_path / "web/.venv")


def test_it_asks(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(tmp_path / "a")
    assert "--yes" in pipm("rm", environment.path).expect(USAGE).err
    command, variables = pipm.command("rm", environment.path)
    for answer, left in (("n\n", True), ("y\n", False)):
        done = subprocess.run(
            command, input=answer, env=clean_environ(variables), text=True, capture_output=True, check=True
        )
        assert "Delete 1 environment" in done.stderr
        assert os.path.exists(environment.path) is left


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    folder = str(tmp_path)
    pipm = make_runner(folder)
    wheel, other = publish(folder, "tool==1"), publish(folder, "leaf==1")
    lock = pylock(f"{folder}/project", [wheel])
    pipm("store", "add", other).expect()
    before = fingerprint(folder)
    done = pipm("sync", lock, "--env", f"{folder}/env", "--check").expect(FAILED)
    assert "Would make" in done.out
    assert "note: no files changed due to --check" in done.err
    assert not os.path.exists(f"{folder}/env")
    assert [line for line in changes(before, fingerprint(folder)) if "cache" not in line] == []
    text = fingerprint(f"{folder}/project")
    pipm("sync", lock, "--env", f"{folder}/env", "--frozen").expect()
    assert changes(text, fingerprint(f"{folder}/project")) == []
    assert "Nothing to do" in pipm("sync", lock, "--env", f"{folder}/env", "--check").expect().out
    lock = pylock(f"{folder}/project", [wheel, other])
    before = fingerprint(f"{folder}/env")
    assert "+ leaf" in pipm("sync", lock, "--env", f"{folder}/env", "--check").expect(FAILED).out
    assert changes(before, fingerprint(f"{folder}/env")) == []


def test_killed_at_each_change(tmp_path: Path, pipm: Pipm) -> None:
    """The environment is complete or gone; the one that shares its files is unchanged."""
    if shutil.which("strace", path=clean_environ()["PATH"]) is None:
        pytest.skip("strace is not installed")
    other = make_environment(str(tmp_path / "other"))
    install(other, "alpha==1.0", package("alpha"))
    pipm.adopt(other.path)
    kept = fingerprint(other.path)
    seen = set()
    for number in (1, 2, 3, 4, 9):
        environment = make_environment(str(tmp_path / f"env{number}"))
        install(environment, "alpha==1.0", package("alpha"))
        pipm.adopt(environment.path)
        whole = fingerprint(environment.path)
        command, variables = pipm.command("rm", "--yes", environment.path)
        changes_of_names = "rename,renameat,renameat2,unlink,unlinkat,rmdir"
        inject = f"inject={changes_of_names}:signal=KILL:when={number}"
        run("strace", "-f", "-o", os.devnull, "-e", inject, *command, environ=variables)
        seen.add(os.path.exists(environment.path))
        if os.path.exists(environment.path):
            assert changes(whole, fingerprint(environment.path)) == []
            pipm("rm", "--yes", environment.path).expect()
        pipm("gc", "--missing").expect()
        assert environment.path not in pipm("list", "-q").expect().out
        assert changes(kept, fingerprint(other.path)) == []
    assert False in seen
