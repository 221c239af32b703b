"""A new git worktree of a project, itself editable and built by hatchling: `pipm sync` against `uv sync`.

The tools take turns; each run gets a new worktree. Caches are warm, uv is offline, all read one uv.lock.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.record import Record
from benchmarks.tables import TIMES, Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.setting import Setting

PYPROJECT = """\
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["rich", "requests", "pydantic", "httpx", "click", "jinja2", "sqlalchemy", "pytest"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def make_repository(path: Path, setting: Setting, environ: Mapping[str, Path]) -> None:
    """Make the repository of the project at *path*, with its lock."""
    (path / "src/app").mkdir(parents=True)
    (path / "src/app/__init__.py").write_text("VALUE = 1\n", encoding="ascii")
    (path / "pyproject.toml").write_text(PYPROJECT, encoding="ascii")
    (path / ".gitignore").write_text(".venv\n", encoding="ascii")
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t")
    for command in (
        (setting.uv, "lock", "-q", "--python", setting.python),
        (*git, "init", "-q"),
        (*git, "add", "-A"),
        (*git, "commit", "-qm", "one"),
    ):
        setting.run(command, cwd=path, environ=environ)


def measure(setting: Setting) -> Iterator[Record]:
    """Sync a new worktree by each tool in turn."""
    work = setting.folder("worktree")
    environ = {
        "XDG_CACHE_HOME": work / "cache",
        "UV_CACHE_DIR": work / "uv-cache",
        "PIPM_STORE": work / "store",
    }
    repository, tree = work / "repository", work / "tree"
    if not repository.exists():
        make_repository(repository, setting, environ)
    pipm = (setting.pipm, "sync", "-qq", "uv.lock", "--python", setting.python)
    commands = {
        "uv sync": (setting.uv, "sync", "-q", "--frozen", "--python", setting.python),
        "pipm, hard links": (*pipm, "--link-mode", "hardlink"),
        "pipm, finder": (*pipm, "--link-mode", "finder"),
    }
    for number in range(-1, setting.count(2, 7)):  # the first fills caches
        for name, command in commands.items():
            shutil.rmtree(tree, ignore_errors=True)
            setting.run(("git", "worktree", "prune"), cwd=repository)
            setting.run(("git", "worktree", "add", "-q", "--detach", tree), cwd=repository)
            offline = ("--offline",) if number >= 0 and "uv" in name else ()
            found = setting.run([*command, *offline], cwd=tree, environ=environ)
            if number >= 0:
                yield Record("any", name, number, found)


TABLES = (
    Table(
        "worktree",
        (Part("wall (processor)", figures=TIMES, place="any"),),
        (
            Part("hard links / uv sync", "pipm, hard links", "uv sync", goal=0.5),
            Part("finder / uv sync", "pipm, finder", "uv sync", goal=0.5),
        ),
    ),
)
