"""Measure `pipm sync` against uv: the same lock, warm caches, in pairs on fresh file systems.

    python -m benchmarks.sync SCRATCH --uv UV [--rounds N] [--kind ext4 --kind xfs …]

Needs root, a C compiler, and the network once for each file system (both tools fill their caches). Every
round runs all contenders one after the other, in an order that turns, and each figure is the median of the
rounds' ratios: another process that runs meanwhile disturbs a round, not the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import child_environment, end_on_signals, timed
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.volume import Volume

PINS = Path(__file__).parent / "requirements" / "sync.txt"
FLOOR = Path(__file__).parent / "floor.c"
SIZE = 24 << 30  # sparse; uv keeps a cache, and its environments their own bytecode
IMPORTS = "import pandas, sklearn, matplotlib.pyplot, django, boto3"
MODES = {"ext4": ("hardlink", "hardlink"), "xfs": ("reflink", "clone"), "btrfs": ("reflink", "clone")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One file system, the lock on it, and the programs."""

    volume: Volume
    lock: Path
    uv: str
    floor: Path

    @property
    def modes(self) -> tuple[str, str]:
        """The link mode as pipm and as uv name it."""
        return MODES[self.volume.kind]

    def pipm(self, env: str, *options: str) -> list[str]:
        """The command of pipm for the environment *env*."""
        store = str(self.volume.path / "store")
        command = [sys.executable, "-m", "dedupe", "--store", store, "-q", "sync", str(self.lock)]
        python = ["--python", os.path.realpath(sys.executable)]
        return [*command, "--env", self.path(env), "--link-mode", self.modes[0], *python, *options]

    def uv_sync(self, env: str, *options: str) -> list[str]:
        """The commands of uv: an environment, then the lock's distributions."""
        python = f"{self.path(env)}/bin/python"
        common = f"UV_CACHE_DIR={self.volume.path}/uv-cache UV_NO_CONFIG=1 {self.uv}"
        make = f"{common} venv -q --python {os.path.realpath(sys.executable)} {self.path(env)}"
        mode = f"--link-mode {self.modes[1]} {' '.join(options)}"
        fill = f"{common} pip sync -q --preview-features pylock {mode} --python {python} {self.lock}"
        return ["sh", "-c", f"{make} && {fill}"]

    def path(self, env: str) -> str:
        """Where the environment *env* lies."""
        return str(self.volume.path / env)

    def importing(self, env: str, command: list[str]) -> list[str]:
        """*command*, then the first start of a program in the environment."""
        words = command[2] if command[0] == "sh" else " ".join(command)
        return ["sh", "-c", f"{words} && {self.path(env)}/bin/python -c '{IMPORTS}'"]


def contenders(ground: Ground) -> dict[str, Callable[[], list[str]]]:
    """What is measured, each with its command."""
    mode = ground.modes[0]
    listing = ground.volume.path / "listing"
    return {
        "uv": lambda: ground.uv_sync("by-uv"),
        "pipm, no bytecode": lambda: ground.pipm("plain", "--no-compile"),
        "pipm": lambda: ground.pipm("whole"),
        "floor": lambda: ["sh", "-c", f"{ground.floor} {mode} {ground.path('floor')} < {listing}"],
        "pipm, nothing to do": lambda: ground.pipm("whole"),
        "uv, then import": lambda: ground.importing("uv-run", ground.uv_sync("uv-run")),
        "uv with bytecode, then import": lambda: ground.importing(
            "uv-compiled", ground.uv_sync("uv-compiled", "--compile-bytecode")
        ),
        "pipm, then import": lambda: ground.importing("run", ground.pipm("run")),
    }


RATIOS = (
    ("pipm, no bytecode", "uv", "the same files"),
    ("pipm, no bytecode", "floor", "over the least possible"),
    ("pipm", "uv", "with bytecode that uv does not bring"),
    ("pipm, then import", "uv, then import", "lock to first import"),
    ("pipm, then import", "uv with bytecode, then import", "likewise, uv compiles"),
    ("pipm, nothing to do", "uv", "a second sync over uv's first"),
)


def write_listing(ground: Ground) -> None:
    """Write what the floor does: the tree that pipm made without bytecode, out of the store."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTING, ground.path("plain"), str(ground.volume.path / "store")],
        check=True,
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    (ground.volume.path / "listing").write_bytes(done.stdout)


_LISTING = """
import os, sys, hashlib
env, store = sys.argv[1:]
site = next(os.path.join(p, 'site-packages') for p, d, f in os.walk(env + '/lib') if 'site-packages' in d)
for path, folders, names in os.walk(site):
    folders.sort()
    here = os.path.relpath(path, site)
    if here != '.':
        print('D ' + here)
for path, folders, names in os.walk(site):
    folders.sort()
    here = os.path.relpath(path, site)
    for name in sorted(names):
        content = open(os.path.join(path, name), 'rb').read()
        digest = hashlib.sha256(content).hexdigest()
        executable = '-x' if os.access(os.path.join(path, name), os.X_OK) else ''
        stored = f'{store}/v1/objects/{digest[:2]}/{digest[2:]}'
        for spelling in (stored, stored + '-x'):
            if os.path.exists(spelling):
                print('F ' + ('' if here == '.' else here) + chr(9) + name + chr(9) + spelling)
                break
"""


def measure(ground: Ground, rounds: int, log: Path) -> dict[str, list[float]]:
    """Run all contenders *rounds* times; seconds of wall time."""
    seconds: dict[str, list[float]] = {}
    commands = contenders(ground)
    names = list(commands)
    for number in range(-1, rounds):  # the first fills caches and is not counted
        order = names[number % len(names) :] + names[: number % len(names)] if number >= 0 else names
        for env in ("by-uv", "plain", "whole", "floor", "uv-run", "uv-compiled", "run"):
            shutil.rmtree(ground.path(env), ignore_errors=True)
        order.remove("pipm, nothing to do")
        order.insert(order.index("pipm") + 1, "pipm, nothing to do")
        for name in order:
            if name == "floor" and number < 0:
                write_listing(ground)
            ground.volume.sync()
            timing = timed(commands[name](), stdout=log, stderr=log)
            if timing.exit_code:
                raise RuntimeError(f"{name} failed on {ground.volume.kind}: see {log}")
            if number >= 0:
                seconds.setdefault(name, []).append(timing.wall)
        print(f"{ground.volume.kind}: round {number + 1} of {rounds}", flush=True)
    return seconds


def report(kind: str, seconds: dict[str, list[float]]) -> None:
    """Print the medians of the ratios, with the smallest and the largest."""
    for mine, peer, what in RATIOS:
        pairs = [one / other for one, other in zip(seconds[mine], seconds[peer], strict=True)]
        spread = f"{min(pairs):.2f} to {max(pairs):.2f}"
        print(f"| {kind} | {mine} / {peer} | {statistics.median(pairs):.2f} | {spread} | {what} |")


def main() -> None:
    """Measure on each kind of file system and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("scratch", type=Path, metavar="SCRATCH", help="a folder for images and logs")
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kind", action="append", choices=list(MODES))
    arguments = parser.parse_args()
    end_on_signals()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    floor = scratch / "floor"
    subprocess.run(["cc", "-O2", "-o", str(floor), str(FLOOR)], check=True)
    uv = shutil.which(arguments.uv) or arguments.uv
    lock = scratch / "pylock.toml"
    if not lock.exists():
        compile_lock = [uv, "pip", "compile", "-q", "--no-deps", "--python", sys.executable, str(PINS)]
        subprocess.run([*compile_lock, "--format", "pylock.toml", "-o", str(lock)], check=True)
    for kind in arguments.kind or MODES:
        with fresh_volume(kind, scratch, SIZE) as volume:
            ground = Ground(volume=volume, lock=lock, uv=uv, floor=floor)
            seconds = measure(ground, arguments.rounds, scratch / f"{kind}.log")
        (scratch / f"{kind}.json").write_text(json.dumps(seconds))
        report(kind, seconds)


if __name__ == "__main__":
    main()
