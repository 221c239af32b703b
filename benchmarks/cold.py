"""Nothing but a lock is there, and a package index on this machine: pipm against uv, over several lines.

Each contender begins without store, cache and environment, on a new ext4, and reads one uv.lock. The server's
processor time is not counted. A line is that of `slow_link`.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from benchmarks.record import Record
from benchmarks.remote import SERVER, add_wheels, run_on_new_disk, serving
from benchmarks.sync import IMPORTS, PINS
from benchmarks.tables import TIMES, Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

BYTECODE = ("uv with bytecode", "pipm with bytecode")
LINES = {
    "loopback": ("0/0", ("uv", "pipm", *BYTECODE)),
    "30 ms": ("0/30", ("uv", "pipm")),
    "100 Mbit/s, 30 ms": ("12500000/30", ("uv, import", "pipm, import", *BYTECODE)),
}
"""The lines: how the server knows them, and whom they have."""


def write_lock(setting: Setting, project: Path) -> None:
    """Write the uv.lock of the wheels on the server, unless it is there."""
    if (project / "uv.lock").exists():
        return
    project.mkdir(exist_ok=True)
    pins = re.findall(r"(?m)^[\w.-]+==\S+", PINS.read_text(encoding="ascii"))
    lines = ["[project]", 'name = "it"', 'version = "0"', f"dependencies = {pins}"]
    # Wheels are there for this machine alone.
    lines += [f'requires-python = "=={sys.version_info[0]}.{sys.version_info[1]}.*"', "[tool.uv]"]
    lines += ["environments = [\"sys_platform == 'linux' and platform_machine == 'x86_64'\"]", ""]
    (project / "pyproject.toml").write_text("\n".join(lines), encoding="ascii")
    index = f"--default-index {SERVER}/simple/"
    setting.run(f"UV_NO_CONFIG=1 {setting.uv} lock -q {index} --project {project} --python {setting.python}")


def contenders(setting: Setting, project: Path, place: Path) -> dict[str, str]:
    """Return a shell command for each contender, which makes an environment in *place*."""
    flags = f"--link-mode hardlink --python {setting.python}"
    mine = f"{setting.pipm} --store {place}/store -q sync {project}/uv.lock --env {place}/env {flags}"
    uv = f"UV_CACHE_DIR={place}/cache UV_PROJECT_ENVIRONMENT={place}/env UV_NO_CONFIG=1 {setting.uv}"
    peer = f"{uv} sync -q --frozen --no-install-project --project {project} {flags}"
    start = f"{place}/env/bin/python -c '{IMPORTS}'"
    return {
        "uv": peer,
        "pipm": f"{mine} --no-compile",
        "uv, import": f"{peer} && {start}",
        "pipm, import": f"{mine} && {start}",
        "uv with bytecode": f"{peer} --compile-bytecode",
        "pipm with bytecode": f"{mine} --compile",
    }


def measure(setting: Setting) -> Iterator[Record]:
    """Take turns on each line."""
    scratch = setting.folder("remote")
    add_wheels(scratch)
    with serving(scratch) as environ:
        write_lock(setting, scratch / "project")
        place = scratch / "ext4" / "place"
        commands = contenders(setting, scratch / "project", place)
        for number in range(setting.count(1, 2)):
            for line, (path, names) in LINES.items():
                for name in names:
                    figures = run_on_new_disk(setting, commands[name], place, environ, path)
                    yield Record(line, name, number, figures)


TABLES = (
    Table(
        "cold",
        tuple(Part(line, place=line, figures=TIMES) for line in LINES),
        (
            Part("no bytecode / uv", "pipm", "uv", goal=1.2),
            Part("until a first import / the same by uv", "pipm, import", "uv, import", goal=1.2),
            Part("all bytecode / uv `--compile-bytecode`", BYTECODE[1], BYTECODE[0], goal=1.0),
        ),
    ),
)
