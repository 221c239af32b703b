"""A warm `pipm run` against its program alone, and against `uv run`, in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.record import Record
from benchmarks.tables import Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

PROJECT = """\
[project]
name = "app"
version = "0"
requires-python = ">=3.11"
dependencies = ["rich", "requests"]
"""


def measure(setting: Setting) -> Iterator[Record]:
    """Start the same program in each way, in turns."""
    folder = setting.folder("run")
    if not (folder / "uv.lock").exists():
        (folder / "pyproject.toml").write_text(PROJECT, encoding="ascii")
        setting.run([setting.uv, "lock", "-q", "--python", setting.python], cwd=folder)
    environ = {
        "XDG_CACHE_HOME": folder / "cache",
        "PIPM_STORE": folder / "store",
        "UV_CACHE_DIR": folder / "uv",
    }

    def run(*command: str) -> dict[str, float]:
        return setting.run(command, environ=environ, cwd=folder)

    run(setting.uv, "sync", "-q", "--frozen", "--python", setting.python)
    run(setting.pipm, "run", "python", "-c", "import sys; print(sys.prefix)")
    bare = f"{setting.printed().splitlines()[-1]}/bin/python"
    program = ("-c", "pass")
    ways = {
        "program": (bare, *program),
        "pipm run": (setting.pipm, "run", "python", *program),
        "uv run": (setting.uv, "run", "--frozen", "--no-sync", "python", *program),
    }
    for number in range(-1, setting.count(15, 60)):
        for name, command in ways.items() if number % 2 else reversed(ways.items()):
            found = run(*command)
            if number >= 0:
                yield Record("any", name, number, found)


TABLES = (
    Table(
        "run",
        (
            Part("wall", figures=("wall",), place="any"),
            Part("processor", figures=("processor",), place="any"),
        ),
        (
            Part("the program alone", "program", unit="ms"),
            Part("`pipm run`, beyond that", "pipm run", "program", unit="ms"),
            Part("`uv run --frozen --no-sync`, beyond that", "uv run", "program", unit="ms"),
        ),
    ),
)
