"""Permission to run an environment's interpreter, for root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pipm.env.permission import refusal
from pipm.fs import trust
from support.process import NORMAL_USER, needs_root
from support.synthetic import make_environment

if TYPE_CHECKING:
    from pathlib import Path

    from support.synthetic import Environment


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    needs_root()
    return make_environment(str(tmp_path / "env"))


def test_an_environment_of_ones_own(environment: Environment) -> None:
    assert refusal(environment.python) is None


@pytest.mark.parametrize("part", ["", "lib", "site-packages"])
def test_a_folder_of_another_user(environment: Environment, part: str) -> None:
    path = environment.site if part == "site-packages" else os.path.join(environment.path, part)
    os.chown(path, NORMAL_USER, -1)
    refused = refusal(environment.python)
    assert refused is not None
    assert "belongs to another user" in refused.message


@pytest.mark.parametrize("name", ["other.pth", "other.start", "sitecustomize.py", "usercustomize.py", "pip"])
def test_a_file_that_runs_at_a_start(environment: Environment, name: str) -> None:
    path = environment.file(name)
    with open(path, "wb"):
        pass
    assert refusal(environment.python) is None
    os.chown(path, NORMAL_USER, -1)
    refused = refusal(environment.python)
    assert refused is not None
    assert path in refused.message


def test_a_module_of_another_user_is_not_run_at_a_start(environment: Environment) -> None:
    path = environment.file("module.py")
    with open(path, "wb"):
        pass
    os.chown(path, NORMAL_USER, -1)
    assert refusal(environment.python) is None


@pytest.mark.parametrize(
    ("ranges", "trusted"),
    [
        ("0 0 4294967295", []),
        ("0 1000 1", [65534]),
        ("0 100000 65536", []),  # the namespace has a user of this number itself
        ("0 1000 1\n1 100000 65533", [65534]),
    ],
)
def test_the_number_of_users_that_a_namespace_lacks(
    monkeypatch: pytest.MonkeyPatch, ranges: str, trusted: list[int]
) -> None:
    files = {"/proc/self/uid_map": ranges, "/proc/sys/fs/overflowuid": "65534\n"}
    monkeypatch.setattr(trust, "_words_of", lambda path: files[path].encode().split())
    assert trust._unmapped() == trusted
