"""Places with packages that are not venvs: conda, user sites, interpreters, __pypackages__."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, USAGE, Pipm, assert_refused
from support.snapshot import assert_kept, changes, fingerprint, snapshot
from support.store import unshared
from support.synthetic import (
    VERSION,
    Environment,
    dist_info,
    install,
    make_environment,
    package,
    record_text,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Library(Environment):
    """A folder with a site-packages of another name or place."""

    folder = "site-packages"

    @property
    def site(self) -> str:
        return os.path.join(self.path, self.folder)


class Project(Library):
    folder = "lib"


def make_conda(path: str, owned: Sequence[str] = ()) -> Environment:
    """An environment as conda leaves it: its own package with its list, and what pip installed beside it.

    *owned* are further paths that conda's list names.
    """
    environment = make_environment(path)
    os.unlink(f"{path}/pyvenv.cfg")
    site = os.path.relpath(environment.site, path)
    files = {"owned/__init__.py": b"x = 1\n" * 50, f"{dist_info('owned', '1.0')}/INSTALLER": b"conda\n"}
    info = dist_info("owned", "1.0")
    files |= {f"{info}/METADATA": b"Name: owned\n", f"{info}/RECORD": record_text(files).encode()}
    for name, content in files.items():
        write(environment.file(name), content)
    listed = [f"{site}/{name}" for name in files] + list(owned)
    package_list = {
        "name": "owned",
        "files": listed[:-1],
        "paths_data": {"paths": [{"_path": name, "path_type": "hardlink"} for name in listed]},
    }
    write(f"{path}/conda-meta/owned-1.0-py_0.json", json.dumps(package_list).encode())
    write(f"{path}/conda-meta/history", b"==> 2026-01-01 00:00:00 <==\n")
    return environment


def make_library(path: str, kind: type[Library] = Library) -> Library:
    environment = kind(path=path)
    os.makedirs(environment.site)
    return environment


def with_alpha(environment: Environment) -> Environment:
    install(environment, "alpha==1.0", package("alpha"))
    return environment


def test_a_conda_environment_shares_what_pip_put_there(tmp_path: Path, pipm: Pipm) -> None:
    site = f"lib/python{VERSION}/site-packages"
    environment = with_alpha(make_conda(f"{tmp_path}/conda", [f"{site}/alpha/__init__.py"]))
    other = with_alpha(make_environment(f"{tmp_path}/venv"))
    before, kept = fingerprint(environment.path), snapshot(environment.path)
    adopted = pipm("adopt", environment.path, other.path, "--link-mode", "hardlink", "--json").expect()
    rows = {row["path"]: row for row in adopted.json["environments"]}
    assert (rows[environment.path]["kind"], rows[other.path]["kind"]) == ("conda", "venv")
    # A path of conda's is conda's, though pip wrote there, too.
    conda_path = environment.file("alpha/__init__.py")
    assert os.stat(conda_path).st_nlink == 1
    assert os.path.samefile(environment.file("alpha/module_1.py"), other.file("alpha/module_1.py"))
    assert [path for path in unshared(environment.site, pipm.store) if "owned" not in path] == [
        "alpha/__init__.py"
    ]
    changed = changes(before, fingerprint(environment.path))
    assert [line for line in changed if "owned" in line or "conda-meta" in line] == []
    told = pipm("list", str(tmp_path), "--json").expect().json
    assert {row["path"]: row["kind"] for row in told["environments"]} == {
        environment.path: "conda",
        other.path: "venv",
    }
    ((place, reason),) = [(row["path"], row["reason"]) for row in told["not_handled"]]
    assert (place, reason) == (environment.path, "conda's own files")
    assert "not handled: 1 place" in pipm("list", str(tmp_path)).expect().err
    assert pipm("verify").expect().out.startswith("All ")
    pipm("gc", "--keep", "0").expect()
    pipm.release(environment.path)
    assert_kept(kept, environment.path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"files": [1]}'])
def test_an_unreadable_list_of_conda_stops_it(tmp_path: Path, pipm: Pipm, text: str) -> None:
    environment = with_alpha(make_conda(f"{tmp_path}/conda"))
    write(f"{environment.path}/conda-meta/torn-1-0.json", text.encode())
    before = fingerprint(environment.path)
    assert_refused(pipm("adopt", environment.path, "--json"), "torn", "conda", code=FAILED)
    assert changes(before, fingerprint(environment.path)) == []


def test_only_venvs_get_the_finder_and_a_wrapped_pip(tmp_path: Path, pipm: Pipm) -> None:
    path = with_alpha(make_conda(f"{tmp_path}/conda")).path
    assert_refused(pipm("adopt", "--link-mode", "finder", path, "--json"), "conda", code=USAGE)
    assert_refused(pipm("adopt", "--wrap-pip", path, "--json"), "conda", code=USAGE)
    library = with_alpha(make_library(f"{tmp_path}/.local/lib/python{VERSION}")).path
    for words in (("pip", "--env", library, "list"), ("run", "-e", library, "python")):
        assert "user" in pipm(*words).expect(USAGE).err


def test_conda_environments_below_the_first(tmp_path: Path, pipm: Pipm) -> None:
    base = with_alpha(make_conda(f"{tmp_path}/conda"))
    inner = with_alpha(make_conda(f"{tmp_path}/conda/envs/sci"))
    write(f"{tmp_path}/conda/pkgs/alpha-1/site-packages/alpha.py", b"x = 1\n")
    told = pipm("list", str(tmp_path), "--json").expect().json
    assert [row["path"] for row in told["environments"]] == [base.path, inner.path]
    assert {row["reason"] for row in told["not_handled"]} == {"conda's own files", "conda's cache"}


@pytest.mark.parametrize("kind", ["user", "interpreter", "__pypackages__"])
def test_folders_of_packages(tmp_path: Path, pipm: Pipm, kind: str) -> None:
    prefix = f"{tmp_path}/{'.local' if kind == 'user' else 'opt'}"
    library = f"{prefix}/lib/python{VERSION}"
    if kind == "__pypackages__":
        environment: Environment = make_library(f"{tmp_path}/__pypackages__/{VERSION}", Project)
    else:
        environment = make_library(library)
    if kind == "interpreter":
        write(f"{library}/os.py", b"")
        write(f"{prefix}/bin/python{VERSION}", b"#!/bin/false\n", mode=0o755)
    with_alpha(environment)
    other = with_alpha(make_environment(f"{tmp_path}/venv"))
    write(f"{os.path.dirname(environment.path)}/beside", b"x" * 5000)
    before = snapshot(other.site)
    adopted = pipm("adopt", "--all", str(tmp_path), "--json").expect()
    assert {row["kind"] for row in adopted.json["environments"]} == {kind, "venv"}
    assert unshared(environment.site, pipm.store) == []
    (row,) = [row for row in pipm("list", "--json").json["environments"] if row["kind"] == kind]
    assert row["state"] == "adopted"
    assert row["distributions"] == 1
    assert "own copy" not in pipm("list", str(tmp_path)).expect().out
    # An upgrade, a second adopt, and undo.
    shutil.rmtree(environment.file("alpha"))
    shutil.rmtree(environment.file(dist_info("alpha", "1.0")))
    install(environment, "alpha==2.0", package("alpha", seed=2))
    upgraded = snapshot(environment.site)
    pipm("adopt", "--all", str(tmp_path)).expect()
    assert unshared(environment.site, pipm.store) == unshared(other.site, pipm.store) == []
    pipm("gc", "--keep", "0").expect()
    pipm("release", "--all", str(tmp_path)).expect()
    assert_kept(upgraded, environment.site)
    assert_kept(before, other.site)
    # What is deleted is forgotten.
    pipm("adopt", environment.path).expect()
    shutil.rmtree(environment.path)
    assert f"Forgot {environment.path}" in pipm("gc", "--missing", "--keep", "0").expect().out


def test_packages_of_no_environment_are_named(tmp_path: Path, pipm: Pipm) -> None:
    write(f"{tmp_path}/usr/lib/python3/dist-packages/one.py", b"x = 1\n")
    write(f"{tmp_path}/build/lib/python{VERSION}/site-packages/two.py", b"x = 1\n")
    with_alpha(make_environment(f"{tmp_path}/env"))
    rows = pipm("adopt", "--all", str(tmp_path), "-n", "--json").expect().json["not_handled"]
    assert {os.path.basename(row["path"]): row["reason"] for row in rows} == {
        "dist-packages": "the system's",
        "site-packages": "of no environment",
    }
    assert all(row["on_disk"] > 0 for row in rows)


def test_another_store_is_not_searched(tmp_path: Path, pipm: Pipm) -> None:
    """A store that was moved is no place with packages of no environment."""
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    pipm("adopt", environment.path, "--link-mode", "finder").expect()
    os.rename(pipm.store, tmp_path / "moved")
    found = pipm("list", str(tmp_path), "--json").expect()
    assert json.loads(found.out)["not_handled"] == []


def test_what_has_no_digest_is_not_offered_again(tmp_path: Path, pipm: Pipm) -> None:
    """RECORD of virtualenv's own pip has no digests: shared files are known by their inodes."""
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    record = environment.file("alpha-1.0.dist-info/RECORD")
    with open(record, encoding="utf-8") as stream:
        rows = [f"{line.split(',')[0]},,\n" for line in stream]
    write(record, "".join(rows).encode())
    pipm("adopt", environment.path, "--link-mode", "hardlink").expect()
    found = json.loads(pipm("list", str(tmp_path), "--json").expect().out)["environments"][0]
    assert not found["note"]
    told = json.loads(pipm("adopt", "-n", environment.path, "--json").expect().out)["environments"][0]
    assert told["files_shared"] == 0
    assert told["files_already_shared"] > 10
