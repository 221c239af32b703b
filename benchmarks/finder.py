"""Starts and imports in a finder environment, against the ordinary one and a line a distribution.

    python -m benchmarks.finder FOLDER --flat ENV [--rounds 60]     # the set of requirements/sync.txt, say
    python -m benchmarks.finder FOLDER --growth [--plot FILE.svg]   # 10 to 1 000 synthetic distributions

Three environments of the same distributions: *flat*, an ordinary venv; *finder*, a copy that was adopted
with ``--link-mode finder``; *lines*, the finder's without its hook: ``sys.path`` has an entry for each
distribution. CPU time of the child (user and system), so that what else the machine does counts little; the
three take turns. Printed are the minima, and the median of the differences to *flat* within a turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from typing import NamedTuple

from benchmarks.growth import draw
from benchmarks.process import child_environment

PROGRAMS = {
    "start": "pass",
    "start -I": "pass",
    "one small import": "import six",
    "twenty missing imports": (
        "for n in range(20):\n try: __import__('missing_%d' % n)\n except ImportError: pass"
    ),
    "entry points": "import importlib.metadata as m; m.entry_points()",
    "numpy": "import numpy",
    "pandas": "import pandas",
    "scikit-learn": "import sklearn.linear_model",
    "matplotlib": "import matplotlib.pyplot",
    "django": "import django.http",
    "boto3": "import boto3",
}
GROWING = {name: PROGRAMS[name] for name in ("start -I", "twenty missing imports", "entry points")}
SIZES = (10, 30, 100, 160, 300, 1000)
GOAL = 2.0
"""Milliseconds over a plain start with 160 distributions."""


class Figures(NamedTuple):
    """Milliseconds of CPU of one program: the least, and the median of the differences to flat."""

    flat: float
    finder: float
    lines: float
    finder_more: float
    lines_more: float


def milliseconds(python: str, options: list[str], code: str) -> float:
    """CPU time of one run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = os.posix_spawn(python, [python, *options, "-c", code], environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{python} -c {code!r} ended with {status}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def compare(folder: str, name: str, code: str, rounds: int) -> Figures:
    """Run one program in the three environments in turn."""
    options = ["-I"] if name.endswith("-I") else []
    pythons = [f"{folder}/{kind}/bin/python" for kind in ("flat", "finder", "lines")]
    turns = [[milliseconds(python, options, code) for python in pythons] for _ in range(rounds + 1)][1:]
    more = [[turn[kind] - turn[0] for turn in turns] for kind in (1, 2)]
    return Figures(*map(min, zip(*turns, strict=True)), *map(statistics.median, more))


def serve(folder: str) -> None:
    """Make *finder* and *lines* of the environment *flat* in *folder*, where they are not there."""
    flat, finder, lines = (f"{folder}/{kind}" for kind in ("flat", "finder", "lines"))
    if not os.path.isdir(finder):
        subprocess.run(["cp", "-a", flat, finder], check=True)
        command = [sys.executable, "-m", "pipm", "-q", "adopt", "--link-mode", "finder", finder]
        environ = child_environment() | {"PIPM_STORE": f"{folder}/store"}
        if subprocess.run(command, env=environ, check=False).returncode not in (0, 3):
            raise SystemExit("pipm adopt failed")
    if not os.path.isdir(lines):
        subprocess.run(["cp", "-a", finder, lines], check=True)
        (site,) = (os.path.join(path, "site-packages") for path in _versions(f"{lines}/lib"))
        os.unlink(f"{site}/000_pipm.pth")


def _versions(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(("python", "pypy"))]


def make_flat(path: str, count: int) -> None:
    """Make an ordinary environment of *count* small synthetic distributions, with bytecode."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    (version,) = _versions(f"{path}/lib")
    for number in range(count):
        name = f"package_{number}"
        info = f"{version}/site-packages/{name}-1.0.dist-info"
        package = f"{version}/site-packages/{name}"
        files = {
            f"{package}/__init__.py": f"NUMBER = {number}\n",
            f"{package}/module.py": f"VALUE = {number * 7}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\ncommand-{number} = {name}:NUMBER\n",
        }
        base = f"{version}/site-packages/"
        files[f"{info}/RECORD"] = "".join(f"{file.removeprefix(base)},,\n" for file in files)
        for file, text in files.items():
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "w", encoding="ascii") as stream:
                stream.write(text)
    subprocess.run([f"{path}/bin/python", "-m", "compileall", "-q", f"{version}/site-packages"], check=True)


def show(name: str, found: Figures) -> None:
    """Print one row of the table."""
    print(
        f"| {name} | {found.flat:.1f} | {found.finder / found.flat:.2f} | {found.finder_more:+.2f}"
        f" | {found.lines / found.flat:.2f} | {found.lines_more:+.2f} |",
        flush=True,
    )


def programs(folder: str, flat: str, rounds: int) -> None:
    """Print a row for each program in the environment *flat*."""
    if not os.path.isdir(f"{folder}/flat"):
        subprocess.run(["cp", "-a", flat, f"{folder}/flat"], check=True)
    serve(folder)
    print("| | flat, ms CPU | finder / flat | finder - flat, ms | lines / flat | lines - flat, ms |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, code in PROGRAMS.items():
        short = name.startswith(("start", "one"))
        show(name, compare(folder, name, code, rounds if short else max(7, rounds // 5)))


def growth(folder: str, sizes: list[int], rounds: int, plot: str | None) -> None:
    """Print a row for each size and program; what is made is removed."""
    print("| | flat, ms CPU | finder / flat | finder - flat, ms | lines / flat | lines - flat, ms |")
    print("|---|--:|--:|--:|--:|--:|")
    curves: dict[str, dict[int, float]] = {}
    for size in sizes:
        place = f"{folder}/{size}"
        make_flat(f"{place}/flat", size)
        serve(place)
        for name, code in GROWING.items():
            found = compare(place, name, code, rounds if name.startswith("start") else rounds // 3)
            show(f"{size}: {name}", found)
            for kind, milliseconds_more in (("finder", found.finder_more), ("lines", found.lines_more)):
                curves.setdefault(f"{name}, {kind}", {})[size] = milliseconds_more
        shutil.rmtree(place)
    if plot:
        draw(
            curves,
            plot,
            goal=GOAL,
            goal_text="goal of a start",
            unit="ms",
            axis="distributions; ms of CPU over an ordinary venv",
            least=0.1,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Finder against ordinary environment.")
    parser.add_argument("folder", help="where the environments are made, and found by the next run")
    parser.add_argument("--flat", help="an ordinary environment to begin with")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--plot", metavar="FILE.svg")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    os.makedirs(folder, exist_ok=True)
    if options.growth:
        growth(folder, sorted(options.sizes), options.rounds, options.plot)
    else:
        programs(folder, options.flat, options.rounds)


if __name__ == "__main__":
    main()
