"""An empty machine until the first import, over 100 Mbit/s and 20 ms: pipm out of a remote against uv.

    python -m benchmarks.remote SCRATCH --uv UV [--rounds 3] [--python PYTHON]

SCRATCH keeps the wheels, the store and the remote, so a second run begins at once. The contenders take turns;
each begins with no store, no cache and no environment. Wall times of a busy machine say little: processor
time (children included, the server's not) is printed as well, and requests and bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.process import REPOSITORY, Timing, child_environment, timed
from benchmarks.sync import IMPORTS

LOCK = REPOSITORY / "benchmarks" / "requirements" / "sync.txt"
PORT = 5571
SERVER = f"http://127.0.0.1:{PORT}"
BASE = "uv --compile-bytecode"


def prepare(scratch: Path, python: str) -> dict[str, str]:
    """Fill *scratch*, unless it is filled; return the environment of all contenders."""
    environ = child_environment() | {
        "XDG_CONFIG_HOME": str(scratch / "config"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    pipm: list[str | Path] = [sys.executable, "-m", "pipm", "--store", scratch / "store"]
    if not (scratch / "wheels").exists():
        download = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*download, "-d", scratch / "part", "-r", LOCK], check=True)
        (scratch / "part").rename(scratch / "wheels")
    if not (scratch / "remote" / "v1" / "index").exists():
        wheels = sorted((scratch / "wheels").iterdir())
        subprocess.run([*pipm, "-q", "store", "add", *wheels], env=environ, check=True)
        make = [*pipm, "-q", "sync", LOCK, "--env", scratch / "env", "--python", python, "--compile"]
        subprocess.run(make, env=environ, check=True)
        if not (scratch / "config" / "pipm" / "signing.key").exists():
            subprocess.run([*pipm, "key", "new"], env=environ, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*pipm, "-q", "push", scratch / "remote", scratch / "env"], env=environ, check=True)
    return environ


def contenders(uv: str, python: str, place: Path) -> dict[str, str]:
    """Return a shell command for each contender, which leaves an environment in *place*."""
    make = f"{uv} venv -q --python {python} {place}/env && {uv} pip sync -q --link-mode hardlink"
    fill = f"{make} --default-index {SERVER}/simple/ --python {place}/env/bin/python {LOCK}"
    sync = (
        f"{sys.executable} -m pipm --store {place}/store -q sync {LOCK} --env {place}/env --python {python}"
    )
    start = f"{place}/env/bin/python -c '{IMPORTS}'"
    return {
        "pipm": f"PIPM_REMOTE={SERVER}/remote PIP_NO_INDEX=1 {sync} && {start}",
        BASE: f"UV_CACHE_DIR={place}/cache {fill} --compile-bytecode && {start}",
        "uv": f"UV_CACHE_DIR={place}/cache {fill} && {start}",
    }


def run(command: str, place: Path, environ: dict[str, str]) -> tuple[Timing, int, int]:
    """Run one contender on nothing; return its cost, requests and bytes."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "tmp").mkdir(parents=True)
    os.sync()
    with urllib.request.urlopen(f"{SERVER}/count"):
        pass
    words = [
        f"{name}={value}"
        for name, value in environ.items()
        if name.startswith(("XDG_CONFIG", "NO_P", "no_p"))
    ]
    words += [f"XDG_CACHE_HOME={place}/home", f"PYTHONPATH={environ['PYTHONPATH']}"]
    timing = timed(["env", *words, "sh", "-c", command], stdout=place / "out", stderr=place / "err")
    if timing.exit_code:
        raise SystemExit(f"{command}\n{(place / 'err').read_text()[-2000:]}")
    with urllib.request.urlopen(f"{SERVER}/count") as answer:
        requests, sent = map(int, answer.read().split())
    return timing, requests, sent


def ratio(rows: list[tuple[Timing, int, int]], others: list[tuple[Timing, int, int]]) -> str:
    """Return the median of the ratios of wall times within the rounds."""
    pairs = zip(rows, others, strict=True)
    return f"{statistics.median(mine[0].wall / other[0].wall for mine, other in pairs):.2f}"


def table(records: dict[str, list[tuple[Timing, int, int]]]) -> None:
    """Print the least and the median of each contender, and ratios within the rounds."""
    print("| | wall s, least | median | of uv --compile-bytecode | of uv | CPU s, least | requests | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, rows in records.items():
        walls = [row[0].wall for row in rows]
        ratios = [ratio(rows, records[base]) if base in records else "" for base in (BASE, "uv")]
        cpu = min(row[0].cpu for row in rows)
        print(
            f"| {name} | {min(walls):.1f} | {statistics.median(walls):.1f} | {ratios[0]}"
            f" | {ratios[1]} | {cpu:.1f} | {rows[-1][1]} | {rows[-1][2] / 1e6:.0f} |",
            flush=True,
        )


def main() -> None:
    """Take turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--python", default=os.path.realpath(sys.executable))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="contenders, in their order: pipm, uv")
    arguments = parser.parse_args()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    environ = prepare(scratch, arguments.python)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.slow_link", scratch / "wheels", scratch / "remote", str(PORT)],
        env=environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    place = Path(tempfile.mkdtemp(dir=scratch))
    try:
        wait_for_server()
        records: dict[str, list[tuple[Timing, int, int]]] = {}
        commands = contenders(arguments.uv, arguments.python, place)
        for _ in range(arguments.rounds):
            for name in arguments.only or commands:
                command = commands[name]
                records.setdefault(name, []).append(run(command, place, environ))
                print(
                    f"{name}: {records[name][-1][0].wall:.1f} s, CPU {records[name][-1][0].cpu:.1f} s",
                    flush=True,
                )
        table(records)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(place)


def wait_for_server() -> None:
    """Wait until the server has read the wheels."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{SERVER}/count"):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


if __name__ == "__main__":
    main()
