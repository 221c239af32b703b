"""What ten processes of ten environments take in memory, by how the environments share files. Needs root.

    python -m benchmarks.memory --work DIR --pipm PIPM --python PYTHON --uv UV

Each process imports numpy, pandas, scipy.sparse and scipy.stats from an environment of its own. Measured are
the sum of their PSS (proportional set size: a page that n processes map counts 1/n for each), the file-backed
part of it, the page cache that the files of the file system fill (fincore), and how long each import takes
when no page was in memory before the first. Environments and store are on a fresh ext4 or, for reflinks, XFS.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import output
from benchmarks.volume import Volume, fresh_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT = 10
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
    Way(name="reflinks", kind="xfs", tool="pipm", mode="reflink"),
    Way(name="uv, hard links", kind="ext4", tool="uv", mode="hardlink"),
    Way(name="uv, clone", kind="xfs", tool="uv", mode="clone"),
)


def run(command: Sequence[str], environ: dict[str, str], cwd: Path) -> None:
    """Run *command* in *cwd*; an error shows its output."""
    done = subprocess.run(
        command, env={**os.environ, **environ}, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def make(way: Way, number: int, place: Path, options: argparse.Namespace) -> Path:
    """Make environment *number*; return its interpreter."""
    env = place / f"env-{number}"
    environ = {
        "PIPM_STORE": f"{place}/store",
        "XDG_CACHE_HOME": f"{place}/cache",
        "UV_CACHE_DIR": f"{place}/uv",
    }
    lock = str(options.work / "pylock.toml")
    if way.tool == "pipm":
        words = ["sync", lock, "--env", str(env), "--python", options.python, "--compile"]
        run([options.pipm, *words, "--link-mode", way.mode], environ, place)
    else:
        run([options.uv, "venv", "-q", "--python", options.python, str(env)], environ, place)
        words = ["pip", "sync", "-q", "--preview-features", "pylock", "--compile-bytecode"]
        words += ["--link-mode", way.mode, "--python", str(env / "bin/python"), lock]
        run([options.uv, *words], environ, place)
    return env / "bin/python"


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


def pss(process: int) -> tuple[int, int]:
    """Return the PSS of a process, and the file-backed part of it, in bytes."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    rows = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return tuple(int(rows[key].split()[0]) << 10 for key in ("Pss", "Pss_File"))  # type: ignore[return-value]


def measure(way: Way, disk: Volume, options: argparse.Namespace) -> dict[str, object]:
    """Make the environments of *way* on *disk*, start all processes, and return figures."""
    place = disk.path
    pythons = [make(way, number, place, options) for number in range(COUNT)]
    environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    disk.sync()
    disk.unmount()  # its pages leave the cache with it
    disk.mount()
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
    figures = [pss(process.pid) for process in running]
    for process in running:
        process.communicate("\n")
    return {
        "way": way.name,
        "file_system": way.kind,
        "pss": sum(whole for whole, _ in figures),
        "pss_file": sum(file for _, file in figures),
        "page_cache": resident(place),
        "first_import": round(seconds[0], 2),
        "second_import": round(seconds[1], 2),
        "last_import": round(seconds[-1], 2),
    }


def main() -> None:
    """Print one JSON object for each way, then the table."""
    parser = argparse.ArgumentParser()
    for name in ("pipm", "python", "uv"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", required=True, type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    needs = options.work / "requirements.in"
    needs.write_text("\n".join(NEEDS) + "\n", encoding="ascii")
    lock = ("pip", "compile", "-q", "--format", "pylock.toml", "--python", options.python)
    run((options.uv, *lock, "-o", "pylock.toml", "requirements.in"), {}, options.work)
    rows = []
    for way in WAYS:
        with fresh_volume(way.kind, options.work, SIZE) as disk:
            rows.append(measure(way, disk, options))
            print(json.dumps(rows[-1]), flush=True)
    heads = ("", "PSS of ten", "of files", "page cache", "first import", "second", "tenth")
    print(f"| {' | '.join(heads)} |\n|---{'|--:' * 6}|")
    for row in rows:
        sizes = " | ".join(f"{int(str(row[key])) / 1e6:.0f} MB" for key in ("pss", "pss_file", "page_cache"))
        times = " | ".join(f"{row[key]} s" for key in ("first_import", "second_import", "last_import"))
        print(f"| {row['way']} ({row['file_system']}) | {sizes} | {times} |")


if __name__ == "__main__":
    main()
