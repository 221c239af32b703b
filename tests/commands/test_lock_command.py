"""`pipm lock`: uv or pip writes the lock, and pipm can sync it."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, USAGE, Pipm
from support.tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

TEXT = (
    '[project]\nname = "app"\nversion = "1"\ndependencies = ["idna==3.10"]\n'
    '[project.optional-dependencies]\nmore = ["six==1.17.0"]\n[dependency-groups]\ndev = ["zipp==3.20.0"]\n'
)


def names(path: Path) -> dict[str, str]:
    packages = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
    return {package["name"]: package["version"] for package in packages}


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_project_is_locked(tmp_path: Path, store: str, tool: str) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    if tool == "uv":
        (bare / "uv").symlink_to(find_tool("uv"))
    pipm = Pipm(store=store, cwd=str(tmp_path), environ={"PATH": f"{bare}:/usr/bin:/bin"})
    (tmp_path / "pyproject.toml").write_text(TEXT, encoding="utf-8")
    options = ("--python", sys.executable, "--extra", "more", "--group", "dev")
    done = pipm("lock", "--json", *options)
    assert done.code == 0, done.err
    lock = tmp_path / "pylock.toml"
    assert {key: done.json[key] for key in ("lock", "tool", "distributions")} == {
        "lock": str(lock),
        "tool": tool,
        "distributions": 3,
    }
    assert names(lock) == {"idna": "3.10", "six": "1.17.0", "zipp": "3.20.0"}
    (tmp_path / "tools.in").write_text("six==1.16.0\n", encoding="utf-8")
    again = ("lock", "tools.in", "-o", "pylock.tools.toml", "--python", sys.executable)
    done = pipm(*again)
    assert done.out.startswith("Locked 1 distribution in "), done.err
    assert names(tmp_path / "pylock.tools.toml") == {"six": "1.16.0"}


def test_what_cannot_be_locked(tmp_path: Path, store: str) -> None:
    pipm = Pipm(store=store, cwd=str(tmp_path))
    done = pipm("lock", "--json")
    assert (done.code, done.error["kind"]) == (USAGE, "usage")
    (tmp_path / "requirements.in").write_text("six==0.0.0.1\n", encoding="utf-8")
    done = pipm("lock", "-o", "lock.toml", "--json")
    assert (done.code, done.error["kind"]) == (USAGE, "usage")
    done = pipm("lock", "--json")
    assert (done.code, "six" in done.error["message"]) == (FAILED, True)
    assert not os.path.exists(tmp_path / "pylock.toml")
    assert json.loads(done.err)["error"]["code"] == FAILED
