"""An image of `pipm store pack` against a venv: the time to make it, and processes that import from it.

    python -m benchmarks.pack SCRATCH [--lock LOCK] [--processes 64] [--imports pandas,django]

Run it as root: it mounts the image by a loop device, and drops the page cache before each import. mksquashfs
packs the venv with the same compressor. SCRATCH keeps the store.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.process import REPOSITORY, child_environment, timed

LOCK = REPOSITORY / "benchmarks" / "requirements" / "sync.txt"
IMPORTS = "pandas,sklearn,matplotlib.pyplot,django,boto3"


def measured(name: str, command: list[str | Path], scratch: Path, environ: dict[str, str]) -> None:
    """Run *command* and print what it took."""
    words = [f"{key}={value}" for key, value in environ.items()]
    timing = timed(["env", *words, *map(str, command)], stdout=scratch / "out", stderr=scratch / "err")
    if timing.exit_code:
        raise SystemExit(f"{name}: {(scratch / 'err').read_text()[-2000:]}")
    print(f"| {name} | {timing.wall:.2f} | {timing.cpu:.2f} |", flush=True)


def calls(python: Path, code: str, scratch: Path) -> str:
    """Return how often one process opens and stats."""
    trace = scratch / "trace"
    subprocess.run(["strace", "-fc", "-o", trace, python, "-c", code], check=True)
    rows = re.findall(r"(\d+)(?:\s+\d+)?\s+(openat|newfstatat|stat|lstat)$", trace.read_text(), re.MULTILINE)
    return ", ".join(f"{name} {count}" for count, name in rows)


def main() -> None:
    """Make both, and print a table of seconds: wall and processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--imports", default=IMPORTS)
    arguments = parser.parse_args()
    scratch, code = arguments.scratch, f"import {arguments.imports}"
    scratch.mkdir(exist_ok=True)
    image, venv, point, served = (scratch / name for name in ("site.squashfs", "venv", "mnt", "served"))
    environ = child_environment() | {"XDG_CACHE_HOME": str(scratch / "cache")}
    pipm: list[str | Path] = [sys.executable, "-m", "pipm", "-q", "--store"]
    python = os.path.realpath(sys.executable)
    lock: list[str | Path] = [arguments.lock, "--python", python, "--env"]
    make = [*pipm, scratch / "store", "sync", *lock, venv, "--compile"]
    subprocess.run(make, env=environ, check=True)
    for old in (image, scratch / "venv.squashfs"):
        old.unlink(missing_ok=True)
    print("| | wall s | CPU s |\n|---|--:|--:|")
    pack = [*pipm, scratch / "store", "store", "pack", arguments.lock, "--env", venv, "-o", image]
    measured("pipm store pack", pack, scratch, environ)
    options: list[str | Path] = ["-comp", "zstd", "-no-xattrs", "-quiet", "-no-progress"]
    measured("mksquashfs", ["mksquashfs", venv, scratch / "venv.squashfs", *options], scratch, environ)
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, point], check=True)
    try:
        finder = [*pipm, scratch / "own", "sync", *lock, served, "--link-mode", "finder"]
        subprocess.run(finder, env=environ | {"PIPM_STORE_LAYERS": str(point)}, check=True)
        for name, place in (("venv", venv), ("image", served)):
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
            start = f"for i in $(seq {arguments.processes}); do {place}/bin/python -c '{code}' & done; wait"
            many: list[str | Path] = ["sh", "-c", start]
            measured(f"{arguments.processes} processes, {name}", many, scratch, environ)
            print(f"{name}: {calls(place / 'bin' / 'python', code, scratch)}", file=sys.stderr)
    finally:
        subprocess.run(["umount", point], check=True)


if __name__ == "__main__":
    main()
