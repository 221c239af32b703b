"""Release after the store was moved or deleted: nothing is lost, and messages say so."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from support.pipm import FAILED, PARTLY, Pipm
from support.snapshot import assert_kept, snapshot
from support.states import states
from support.synthetic import Environment, install, make_environment

if TYPE_CHECKING:
    from pathlib import Path


def small(path: str) -> Environment:
    """An environment with two files and their metadata."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", {"alpha/__init__.py": b"x = 1\n", "alpha/data.txt": b"data"})
    return environment


def test_a_store_that_was_moved_is_missed(tmp_path: Path) -> None:
    """Symlinks that lead nowhere are no reason to forget the environment; the new place has the files."""
    pipm = Pipm(store=str(tmp_path / "store"))
    environment = small(str(tmp_path / "env"))
    whole = snapshot(environment.path)
    pipm("adopt", environment.path, "--link-mode", "symlink").expect()
    os.rename(pipm.store, tmp_path / "moved")
    before = states(environment.path)
    told = pipm("release", environment.path).expect(FAILED)
    assert f"{pipm.store}, which does not exist" in told.err
    assert f"pipm release --store DIR {environment.path}" in told.err
    moved = replace(pipm, store=str(tmp_path / "moved"))
    told = moved("adopt", environment.path).expect(FAILED)  # it cannot share what it does not have
    assert f"{pipm.store}, which is gone or was moved" in told.err
    assert states(environment.path) == before
    assert len(os.listdir(tmp_path / "moved/v1/roots")) == 1
    moved.release(environment.path)
    assert not [name for name, row in states(environment.site).items() if row.kind == "symlink"]
    assert_kept(whole, environment.path)
    assert os.listdir(tmp_path / "moved/v1/roots") == []


def test_the_only_environment_of_a_deleted_store_is_told(tmp_path: Path) -> None:
    """It shares no file, but its modules are still as the store made them."""
    pipm = Pipm(store=str(tmp_path / "store"))
    environment = small(str(tmp_path / "env"))
    told = pipm("release", environment.path).expect()
    assert told.err == ""
    pipm("adopt", environment.path, "--link-mode", "hardlink").expect()
    shutil.rmtree(pipm.store)
    for command in ("gc", "verify", "list"):
        assert f"there is no store at {pipm.store}" in pipm(command).expect().err
    assert pipm("verify").expect().out == "Nothing to verify\n"
    assert "if it was moved: --store DIR" in pipm("df").expect().err + pipm("doctor").expect().out
    told = pipm("release", environment.path).expect()
    assert "cannot be written to: another store may have shared them" in told.err
    assert f"chmod -R u+w {environment.path}" in told.err


def test_an_error_of_all_environments_is_told_once(tmp_path: Path) -> None:
    """A store that cannot be made is one error, however many environments there are."""
    for name in ("one", "two", "three"):
        small(str(tmp_path / "code" / name))
    (tmp_path / "file").write_text("", encoding="ascii")
    told = Pipm(store=str(tmp_path / "file/store"))("adopt", "--all", str(tmp_path / "code")).expect(FAILED)
    assert told.err.count("error:") == 1


def test_links_to_what_the_store_lacks_are_told(tmp_path: Path) -> None:
    """Another store at the old path, or one without a file: it is no release without an error."""
    pipm = Pipm(store=str(tmp_path / "store"))
    environment = small(str(tmp_path / "env"))
    pipm("adopt", environment.path, "--link-mode", "symlink").expect()
    os.rename(pipm.store, tmp_path / "moved")
    pipm("adopt", small(str(tmp_path / "other")).path).expect()
    shutil.rmtree(f"{pipm.store}/v1/wheels")
    os.mkdir(f"{pipm.store}/v1/wheels")
    before = states(environment.site)
    told = pipm("release", environment.path).expect(PARTLY)
    assert "left shared" in told.err
    assert "a symbolic link to a file that is missing in its store" in told.err
    assert states(environment.site) == before
    replace(pipm, store=str(tmp_path / "moved")).release(environment.path)
    assert not [name for name, row in states(environment.site).items() if row.kind == "symlink"]
