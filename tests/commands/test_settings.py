"""Settings in files, variables and options: their order, and the limits for projects."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.pipm import USAGE, Pipm, assert_refused, assert_says
from support.process import NORMAL_USER, check, needs_root
from support.synthetic import Environment, install, make_environment, package, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def with_alpha(path: Path) -> Environment:
    environment = make_environment(str(path))
    install(environment, "alpha==1.0", package("alpha"))
    return environment


@pytest.fixture
def person(tmp_path: Path, pipm: Pipm) -> Pipm:
    """pipm in a project, with a folder of settings, and no store that a variable names."""
    write(str(tmp_path / "project/README"), b"")
    environ = {
        "XDG_CONFIG_HOME": f"{tmp_path}/config",
        "XDG_DATA_HOME": f"{tmp_path}/data",
        "PIPM_STORE": pipm.store,
    }
    return replace(pipm, cwd=f"{tmp_path}/project", environ=environ)


def of_user(tmp_path: Path, text: str) -> str:
    path = f"{tmp_path}/config/pipm/pipm.toml"
    write(path, text.encode())
    return path


def of_project(tmp_path: Path, text: str, name: str = "pipm.toml") -> str:
    path = f"{tmp_path}/project/{name}"
    write(path, text.encode())
    return path


def shown(pipm: Pipm, *options: str) -> Mapping[str, tuple[str, str | None]]:
    rows = pipm("config", *options, "--json").expect().json["settings"]
    return {key: (row["value"], row["from"]) for key, row in rows.items()}


def test_the_order_of_origins(tmp_path: Path, person: Pipm) -> None:
    assert shown(person)["link-mode"] == ("auto", None)
    user = of_user(tmp_path, 'link-mode = "copy"\n')
    assert shown(person)["link-mode"] == ("copy", user)
    project = of_project(tmp_path, '[tool.pipm]\nlink-mode = "symlink"\n', "pyproject.toml")
    write(f"{tmp_path}/project/src/a.py", b"")
    below = replace(person, cwd=f"{tmp_path}/project/src")
    assert shown(below)["link-mode"] == ("symlink", project)
    variable = replace(person, environ={**person.environ, "PIPM_LINK_MODE": "hardlink"})
    assert shown(variable)["link-mode"] == ("hardlink", "PIPM_LINK_MODE")
    environment = with_alpha(tmp_path / "env")
    assert person.adopt(environment.path, mode="auto").environment["link_mode"] in ("hardlink", "reflink")
    person.release(environment.path)
    assert person("adopt", environment.path, "--json").environment["link_mode"] == "symlink"
    person.release(environment.path)
    assert variable("adopt", environment.path, "--json").environment["link_mode"] == "hardlink"


def test_the_users_file_names_the_store(tmp_path: Path, person: Pipm) -> None:
    user = of_user(tmp_path, f'store = "{tmp_path}/chosen"\n')
    free = replace(person, environ={**person.environ, "PIPM_STORE": ""})
    assert free("store", "path").expect().out.strip() == f"{tmp_path}/data/pipm"  # set and empty: none
    command, variables = person.command("store", "path")
    del variables["PIPM_STORE"]
    assert check(*command, cwd=person.cwd, environ=variables).strip() == f"{tmp_path}/chosen"
    told = check(*command[:-2], "config", cwd=person.cwd, environ=variables)
    assert f"{tmp_path}/chosen" in told
    assert user in told
    assert shown(person, "--store", "/elsewhere")["store"] == ("/elsewhere", "--store")


def test_a_sync_takes_the_settings_mode(tmp_path: Path, person: Pipm) -> None:
    of_project(tmp_path, 'link-mode = "magic"\n')
    of_project(tmp_path, 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n', "pylock.toml")
    assert_refused(person("sync", "--json"), "magic", code=USAGE)
    assert_refused(person("venv", "v", "--json"), "magic", code=USAGE)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("stor = 1\n", "stor"),
        ("link-mode = 1\n", "link-mode"),
        ('exclude = "attic"\n', "exclude"),
        ("exclude = [\n", "toml"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, person: Pipm, text: str, word: str) -> None:
    path = of_user(tmp_path, text)
    assert_refused(person("config", "--json"), path, word, code=USAGE)
    assert_says(person("adopt", "env"))


@pytest.mark.parametrize("key", ["store", "layers", "remote", "trusted-keys"])
def test_a_project_chooses_no_place(tmp_path: Path, person: Pipm, key: str) -> None:
    path = of_project(tmp_path, f'{key} = "/evil"\n')
    assert_refused(person("adopt", "env", "--json"), path, key, code=USAGE)
    os.unlink(path)
    of_project(tmp_path, f'[tool.pipm]\n{key} = "x"\n', "pyproject.toml")
    assert_refused(person("config", "--json"), "pyproject.toml", key, code=USAGE)


def test_what_another_user_can_change_is_not_read(tmp_path: Path, person: Pipm) -> None:
    needs_root()
    path = of_project(tmp_path, 'link-mode = "symlink"\n')
    os.chown(path, NORMAL_USER, NORMAL_USER)
    assert shown(person)["link-mode"] == ("auto", None)
    user = of_user(tmp_path, 'link-mode = "symlink"\n')
    os.chmod(user, 0o666)
    assert_refused(person("config", "--json"), user, "chmod", code=USAGE)


def test_excluded_folders(tmp_path: Path, person: Pipm) -> None:
    kept, named = with_alpha(tmp_path / "code/a/.venv"), with_alpha(tmp_path / "code/attic/.venv")
    by_end, whole = with_alpha(tmp_path / "code/b/build/env"), with_alpha(tmp_path / "code/c/.venv")
    of_user(tmp_path, 'exclude = ["attic"]\n')
    options = ("--exclude", "build/env", "--exclude", f"{tmp_path}/code/c*")

    def below(*words: str) -> list[str]:
        rows = person(*words, "--json").expect().json["environments"]
        return sorted(row["path"] for row in rows)

    top = str(tmp_path / "code")
    assert below("list", top) == sorted((kept.path, by_end.path, whole.path))
    assert below("list", top, *options) == [kept.path]
    assert below("adopt", "--all", top, *options) == [kept.path]
    person.adopt(named.path, mode="auto")  # what is named is meant
    assert below("release", "--all", top) == sorted((kept.path, named.path))
