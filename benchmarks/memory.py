"""What ten processes of ten environments take in memory, by how the environments share files.

Each process imports numpy, pandas, scipy.sparse and scipy.stats from an environment of its own. Measured are
the sum of their PSS (proportional set size: a page that n processes map counts 1/n for each), the file-backed
part of it, the page cache that the files of the file system fill (fincore), and how long each import takes
when no page was in memory before the first. Environments and store are on a fresh ext4 or, for reflinks, XFS.
"""

from __future__ import annotations

import os
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import child_environment, output
from benchmarks.record import Record
from benchmarks.tables import Part, Table
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting
    from benchmarks.volume import Volume

SIZE = 16 << 30
"""Bytes of a file system; its image is sparse."""
NEEDS = ("numpy", "pandas", "scipy")
IMPORTS = "import numpy, pandas, scipy.sparse, scipy.stats"
PROGRAM = (
    f"import time; t = time.perf_counter(); {IMPORTS}; print(time.perf_counter() - t, flush=True); input()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to make an environment, on a file system of ``kind``."""

    name: str
    kind: str
    tool: str
    mode: str


WAYS = (
    Way(name="hard links", kind="ext4", tool="pipm", mode="hardlink"),
    Way(name="finder", kind="ext4", tool="pipm", mode="finder"),
    Way(name="copies", kind="ext4", tool="pipm", mode="copy"),
    Way(name="uv, hard links", kind="ext4", tool="uv", mode="hardlink"),
    Way(name="reflinks", kind="xfs", tool="pipm", mode="reflink"),
    Way(name="uv, clone", kind="xfs", tool="uv", mode="clone"),
)


def make(setting: Setting, way: Way, number: int, place: Path, lock: Path) -> Path:
    """Make environment *number* with bytecode; return its interpreter."""
    env = place / f"env-{number}"
    environ = {"PIPM_STORE": place / "store", "XDG_CACHE_HOME": place / "cache", "UV_CACHE_DIR": place / "uv"}
    python = env / "bin/python"
    if way.tool == "pipm":
        where: list[str | Path] = ["--env", env, "--python", setting.python, "--compile"]
        setting.run([setting.pipm, "sync", lock, *where, "--link-mode", way.mode], environ=environ)
    else:
        setting.run([setting.uv, "venv", "-q", "--python", setting.python, env], environ=environ)
        options = ["--compile-bytecode", "--link-mode", way.mode]
        setting.run([setting.uv, "pip", "sync", "-q", "--python", python, *options, lock], environ=environ)
    return python


def resident(place: Path) -> int:
    """Return the bytes of the page cache that the files below *place* fill, each inode once."""
    files: dict[int, str] = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = f"{folder}/{name}"
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size:
                files[status.st_ino] = path
    paths = list(files.values())
    total = 0
    for first in range(0, len(paths), 500):
        sizes = output(["fincore", "--bytes", "--noheadings", "--output", "RES", *paths[first : first + 500]])
        total += sum(map(int, sizes.split()))
    return total


def shares(process: int) -> tuple[int, int]:
    """Return the PSS of a process, and the file-backed part of it, in bytes."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    rows = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return tuple(int(rows[key].split()[0]) << 10 for key in ("Pss", "Pss_File"))  # type: ignore[return-value]


def start_all(pythons: list[Path]) -> dict[str, float]:
    """Start a process for each of *pythons*, one after the other; return figures of all together."""
    environ = child_environment() | {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    seconds, running = [], []
    for python in pythons:
        command = (str(python), "-c", PROGRAM)
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seconds.append(float(process.stdout.readline()))
        running.append(process)
    time.sleep(1)
    found = [shares(process.pid) for process in running]
    for process in running:
        process.communicate("\n")
    return {
        "pss": sum(whole for whole, _ in found),
        "pss of files": sum(file for _, file in found),
        "first": round(seconds[0], 3),
        "second": round(seconds[1], 3),
        "last": round(seconds[-1], 3),
    }


def measure_way(setting: Setting, way: Way, disk: Volume, lock: Path) -> dict[str, float]:
    """Make the environments of *way* on *disk* and start them with no page in memory."""
    count = 4 if setting.quick else 10
    cache, seed = disk.path / ("store" if way.tool == "pipm" else "uv"), setting.folder("memory") / way.tool
    if not seed.exists():  # what one way downloads serves the others
        make(setting, way, count, disk.path, lock)
        setting.run(["cp", "-a", cache, seed])
    else:
        setting.run(["cp", "-a", seed, cache])
    pythons = [make(setting, way, number, disk.path, lock) for number in range(count)]
    disk.sync()
    disk.unmount()  # its pages leave the cache with it
    disk.mount()
    found = start_all(pythons)
    return found | {"page cache": resident(disk.path)}


def measure(setting: Setting) -> Iterator[Record]:
    """Measure each way once."""
    folder = setting.folder("memory")
    # Out of a pylock.toml uv unpacks each wheel anew for each environment: then nothing is shared.
    lock = folder / "requirements.txt"
    if not lock.exists():
        (folder / "requirements.in").write_text("\n".join(NEEDS) + "\n", encoding="ascii")
        words = ("pip", "compile", "-q", "--python", setting.python)
        setting.run([setting.uv, *words, "-o", lock, folder / "requirements.in"])
    for way in WAYS:
        if setting.quick and way.mode != "hardlink":
            continue
        with fresh_volume(way.kind, folder, SIZE) as disk:
            yield Record(
                "ten" if not setting.quick else "four", way.name, 0, measure_way(setting, way, disk, lock)
            )


TABLES = (
    Table(
        "memory",
        (
            Part("PSS", figures=("pss",), unit="MB"),
            Part("of it files", figures=("pss of files",), unit="MB"),
            Part("page cache", figures=("page cache",), unit="MB"),
            Part("first import", figures=("first",), unit="s"),
            Part("second", figures=("second",), unit="s"),
            Part("last", figures=("last",), unit="s"),
        ),
        tuple(
            Part(f"{way.name} ({way.kind}), {count} processes", way.name, place=count)
            for count in ("ten", "four")
            for way in WAYS
        ),
    ),
)
