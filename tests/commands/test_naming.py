"""Ways to name an environment: its path, a project's folder, @NAME, or none."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from support.pipm import USAGE, Pipm, assert_refused
from support.store import unshared
from support.synthetic import Environment, install, make_environment, package, write

if TYPE_CHECKING:
    from pathlib import Path


def with_alpha(path: Path) -> Environment:
    environment = make_environment(str(path))
    install(environment, "alpha==1.0", package("alpha"))
    return environment


def test_a_projects_folder_means_its_environment(tmp_path: Path, pipm: Pipm) -> None:
    environment, other = with_alpha(tmp_path / "web/.venv"), with_alpha(tmp_path / "web/docs/env")
    assert pipm.adopt(str(tmp_path / "web")).environment["path"] == environment.path
    assert unshared(other.site, pipm.store) != []
    assert pipm("verify", str(tmp_path / "web")).expect().out.startswith("All ")
    assert pipm.release(str(tmp_path / "web")).environment["path"] == environment.path
    # Without one of that name, the only one there is below.
    assert pipm.adopt(str(tmp_path / "web/docs")).environment["path"] == other.path


def test_a_file_names_the_projects_environment(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(tmp_path / "pool/web-1")
    write(str(tmp_path / "web/.venv"), b"../pool/web-1\n")  # PEP 832
    assert pipm.adopt(str(tmp_path / "web")).environment["path"] == environment.path
    assert pipm.release(str(tmp_path / "web/.venv")).environment["path"] == environment.path


def test_several_environments_are_named(tmp_path: Path, pipm: Pipm) -> None:
    paths = [with_alpha(tmp_path / name).path for name in ("code/a/.venv", "code/b/.venv")]
    result = pipm("adopt", str(tmp_path / "code"), "--json")
    assert_refused(result, *paths, "--all", code=USAGE)
    assert not os.path.exists(pipm.store)
    assert len(pipm("adopt", "--all", str(tmp_path / "code"), "--json").json["environments"]) == 2


def test_the_active_environment_counts(tmp_path: Path, pipm: Pipm) -> None:
    active, here = with_alpha(tmp_path / "env"), with_alpha(tmp_path / "project/.venv")
    inside = replace(pipm, cwd=str(tmp_path / "project"), environ={"VIRTUAL_ENV": active.path})
    assert inside("adopt", "--json").environment["path"] == active.path
    assert inside("release", "--json").environment["path"] == active.path
    assert replace(inside, environ={})("adopt", "--json").environment["path"] == here.path


def test_a_sync_says_that_another_environment_is_active(tmp_path: Path, pipm: Pipm) -> None:
    active = with_alpha(tmp_path / "env")
    write(str(tmp_path / "project/pylock.toml"), b'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')
    inside = replace(pipm, cwd=str(tmp_path / "project"), environ={"VIRTUAL_ENV": active.path})
    assert f"pipm sync --env {active.path}" in inside("sync", "-n").expect().err
    assert "is active" not in inside("sync", "-n", "--env", active.path).expect().err
    assert os.listdir(active.site) != []


def test_a_name_means_its_environment_everywhere(tmp_path: Path, pipm: Pipm) -> None:
    named = replace(pipm, environ={"XDG_DATA_HOME": str(tmp_path / "data")})
    environment = with_alpha(tmp_path / "data/pipm-environments/science")
    named("adopt", "@science").expect()
    assert [one["path"] for one in named("list", "@science", "--json").json["environments"]] == [
        environment.path
    ]
    assert environment.path in named("why", "@science").expect().out
    named("verify", "@science").expect()
    named("report", "@science", "-o", str(tmp_path / "page.html")).expect()
    assert environment.path in (tmp_path / "page.html").read_text()
    named("release", "@science").expect()
