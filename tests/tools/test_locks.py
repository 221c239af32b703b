"""Tools install from their locks the names and versions that pipm reads from them.

The quick part; scripts/campaign-locks has pipenv, older formats, workspaces, conflicts, more interpreters.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.lockers import Pdm, PipLock, Poetry, Uv, UvCompile, UvPylock, has_pylock_install
from support.locking import (
    DEFAULT,
    MORE,
    Project,
    Sources,
    differences,
    make_sources,
    project_text,
    serve,
)
from support.tools import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.selection import Selection
    from support.locking import Tool

pytestmark = pytest.mark.network

HERE = os.path.realpath(sys.executable)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """What the projects depend on besides the index."""
    return make_sources(str(tmp_path_factory.mktemp("sources")))


@pytest.fixture(scope="session")
def wheel_url(sources: Sources) -> Iterator[str]:
    """A wheel behind an URL."""
    folder, _, name = sources.wheel.rpartition("/")
    for url in serve(folder):
        yield f"{url}/{name}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the tools have fetched."""
    return str(tmp_path_factory.mktemp("lock-cache"))


@pytest.fixture
def direct(sources: Sources, wheel_url: str) -> list[str]:
    """Requirements that no index has: a folder, a repository, an URL."""
    return [
        f"helper @ file://{sources.helper}",
        f"gitted @ git+file://{sources.repository}@v1.5",
        f"iniconfig @ {wheel_url}",
    ]


def project(tmp_path: object, cache: str, tool: Tool, direct: list[str]) -> Project:
    made = Project(folder=os.path.join(str(tmp_path), "sample"), cache=cache)
    made.write("sample.py", '"""A module."""\n')
    made.write("pyproject.toml", tool.prepare(project_text(direct)))
    return made


def check_tool(made: Project, tool: Tool, cases: list[tuple[str, Selection]]) -> None:
    lock = tool.lock(made, HERE)
    for python, selection in cases:
        there = tool.install(made, python, selection)
        assert differences(lock, there, python, selection) == {}


def test_uv(tmp_path: object, cache: str, direct: list[str]) -> None:
    made = project(tmp_path, cache, Uv(), direct)
    other = interpreter("3.9")
    check_tool(made, Uv(), [(HERE, DEFAULT), (HERE, MORE), (other, MORE)])


@pytest.mark.parametrize("tool", [UvPylock(MORE), UvCompile(MORE)], ids=lambda tool: tool.name)
def test_what_uv_exports(tmp_path: object, cache: str, direct: list[str], tool: Tool) -> None:
    made = project(tmp_path, cache, tool, direct)
    check_tool(made, tool, [(HERE, DEFAULT), (interpreter("3.9"), DEFAULT)])


def test_poetry(tmp_path: object, cache: str, direct: list[str]) -> None:
    made = project(tmp_path, cache, Poetry(), direct)
    check_tool(made, Poetry(), [(HERE, MORE)])


def test_pdm(tmp_path: object, cache: str, direct: list[str]) -> None:
    tool = Pdm()
    # It reads git+file: as the name of a host.
    made = project(tmp_path, cache, tool, [line for line in direct if "git+file" not in line])
    check_tool(made, tool, [(HERE, MORE)])


def test_pip_lock(tmp_path: object, cache: str, wheel_url: str) -> None:
    if not has_pylock_install():
        pytest.skip("this pip does not install from pylock.toml")
    tool = PipLock()
    # From a lock with hashes it installs no repository, and it locks no folder outside the lock's.
    made = project(tmp_path, cache, tool, [f"iniconfig @ {wheel_url}"])
    check_tool(made, tool, [(HERE, DEFAULT)])
