"""A new git worktree of a project, itself editable and built by hatchling: `pipm sync` against `uv sync`.

One project has few requirements, the other those of the benchmark `sync`. The tools take turns; each run gets
a new worktree, or ten at once. Caches are warm, uv is offline, all read one uv.lock.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.record import Record
from benchmarks.sync import SIZE, pinned
from benchmarks.tables import TIMES, Part, Table
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.setting import Setting
    from benchmarks.volume import Volume

PYPROJECT = """\
[project]
name = "app"
version = "0.1.0"
requires-python = "=={version}.*"
dependencies = {pins}
[tool.uv]
environments = ["sys_platform == 'linux'"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
FEW = ["rich", "requests", "pydantic", "httpx", "click", "jinja2", "sqlalchemy", "pytest"]
TEN = 10


def make_repository(path: Path, pins: list[str], setting: Setting, environ: Mapping[str, Path]) -> None:
    """Make the repository of a project at *path*, with its lock."""
    (path / "src/app").mkdir(parents=True)
    (path / "src/app/__init__.py").write_text("VALUE = 1\n", encoding="ascii")
    version = ".".join(map(str, sys.version_info[:2]))
    project = PYPROJECT.format(version=version, pins=json.dumps(pins))
    (path / "pyproject.toml").write_text(project, encoding="ascii")
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
    """Sync new worktrees of both projects."""
    folder = setting.folder("worktree")
    with fresh_volume("ext4", folder, SIZE) as disk:
        environ = {
            "XDG_CACHE_HOME": disk.path / "cache",
            "UV_CACHE_DIR": disk.path / "uv-cache",
            "PIPM_STORE": disk.path / "store",
        }
        for place, pins in (("few", FEW), ("many", pinned(setting))):
            make_repository(disk.path / place, pins, setting, environ)
            yield from _measure(setting, disk, place, environ)


def _measure(setting: Setting, disk: Volume, place: str, environ: Mapping[str, Path]) -> Iterator[Record]:
    def add(count: int) -> list[Path]:
        """Add worktrees at new paths: a project that was built at the same path is known."""
        trees = [disk.path / f"{place}-{time.monotonic_ns()}-{number}" for number in range(count)]
        for tree in trees:
            command = ("git", "worktree", "add", "-q", "--detach", tree)
            setting.run(command, cwd=disk.path / place)
        disk.sync()
        return trees

    pipm = f"{setting.pipm} sync -qq uv.lock --python {setting.python} --link-mode"
    commands = {
        "uv sync": (f"{setting.uv} sync -q --frozen --python {setting.python}", "--offline"),
        "pipm, hard links": (f"{pipm} hardlink", ""),
        "pipm, finder": (f"{pipm} finder", ""),
    }
    for command, _ in commands.values():  # fills the caches
        (tree,) = add(1)
        setting.run(f"{command} --compile" if "pipm" in command else command, cwd=tree, environ=environ)
    for number in range(setting.count(2, 7)):
        for name, words in commands.items():
            command = " ".join(words)
            (tree,) = add(1)
            yield Record(place, name, number, setting.run(command, cwd=tree, environ=environ))
            started = "".join(f'(cd {tree} && {command}) & started="$started $!"; ' for tree in add(TEN))
            whole = f"{started} for one in $started; do wait $one || exit 1; done"
            several = setting.run(whole, environ=environ)
            yield Record(place, f"{name}, of ten", number, {key: one / TEN for key, one in several.items()})


TABLES = (
    Table(
        "worktree",
        (
            Part("28 distributions", figures=TIMES, place="few"),
            Part("161 distributions", figures=TIMES, place="many"),
        ),
        (
            Part("hard links / uv sync", "pipm, hard links", "uv sync", goal=0.5),
            Part("finder / uv sync", "pipm, finder", "uv sync", goal=0.5),
            Part("ten at once: hard links / uv sync", "pipm, hard links, of ten", "uv sync, of ten"),
            Part("ten at once: finder / uv sync", "pipm, finder, of ten", "uv sync, of ten"),
            Part(
                "hard links, ten at once / in turn", "pipm, hard links, of ten", "pipm, hard links", goal=1.2
            ),
            Part("uv sync, ten at once / in turn", "uv sync, of ten", "uv sync"),
        ),
    ),
)
