"""How df, list, gc -n and why grow with the number of environments.

Each command runs in a process of its own, several times in turn with the floors: what os.walk and a stat of
every file of the same trees take, and what reading the roots takes. Prints a table in markdown; with --plot
also a drawing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.crowd import Crowd, add_environments, make_store
from benchmarks.process import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = {
    "df, first": ("df",),
    "df": ("df",),
    "df --exact": ("df", "--exact"),
    "list": ("list",),
    "gc -n": ("gc", "-n"),
    "why": ("why", "package7"),
}
GOAL = 1.5
SLOW = ("df, first", "df --exact", "walk and stat")
"""Once a size: they are not what the goal is about."""


@dataclass(slots=True, kw_only=True)
class Scale:
    """The seconds of each contender by number of environments, the least of all rounds.

    ``cpu`` is what the processor was busy with it: where others work beside, that alone can be compared.
    """

    times: dict[str, dict[int, float]] = field(default_factory=dict)
    cpu: dict[str, dict[int, float]] = field(default_factory=dict)
    files: dict[int, int] = field(default_factory=dict)

    def note(self, name: str, size: int, spent: tuple[float, float]) -> None:
        """Keep the least wall time and the least processor time."""
        for kept, seconds in ((self.times, spent[0]), (self.cpu, spent[1])):
            known = kept.setdefault(name, {})
            known[size] = min(seconds, known.get(size, seconds))


def run(store: str, home: str, command: tuple[str, ...]) -> tuple[float, float]:
    """Run pipm in a process of its own; returns its seconds of wall and of processor time."""
    variables = child_environment() | {"PIPM_STORE": store, "XDG_CACHE_HOME": f"{home}/cache"}
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "dedupe", *command],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"pipm {' '.join(command)} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Time *work* in this process: wall and processor."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - busy


def walk(folder: str) -> int:
    """Stat every file below *folder*; returns how many there are."""
    count = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            os.lstat(f"{directory}/{name}")
            count += 1
    return count


def read_roots(store: str) -> int:
    """Read and parse all roots."""
    folder = f"{store}/v1/roots"
    count = 0
    for name in os.listdir(folder):
        with open(f"{folder}/{name}", "rb") as file:
            count += len(json.load(file)["entries"])
    return count


def measure(place: str, sizes: list[int], rounds: int, crowd: Crowd) -> Scale:
    """Let the crowd grow from size to size and time everything at each."""
    store_path, folder = f"{place}/store", f"{place}/envs"
    store, entries = make_store(store_path, crowd, f"{place}/wheels")
    scale = Scale()
    made = 0
    for size in sizes:
        larger = Crowd(
            environments=size, distributions=crowd.distributions, known=crowd.known, files=crowd.files
        )
        add_environments(store, entries, folder, larger, first=made)
        made = size
        os.sync()
        scale.files[size] = walk(folder)
        for number in range(rounds):
            if number == 0:
                shutil.rmtree(f"{place}/cache", ignore_errors=True)
                scale.note("walk and stat", size, seconds_of(lambda: walk(folder)))
            scale.note("read roots", size, seconds_of(lambda: read_roots(store_path)))
            for name, command in COMMANDS.items():
                if number == 0 or name not in SLOW:
                    scale.note(name, size, run(store_path, place, command))
        print(f"{size} environments done", file=sys.stderr)
    return scale


def table(scale: Scale) -> str:
    """The times as markdown: seconds, and how they grow with the environments."""
    sizes = sorted(scale.files)
    lines = [
        "| seconds (of CPU) | " + " | ".join(f"{size}" for size in sizes) + " | CPU, last / first |",
        "|---|" + "--:|" * (len(sizes) + 1),
        "| files | " + " | ".join(f"{scale.files[size]:,}" for size in sizes) + " | |",
    ]
    for name, times in scale.times.items():
        cpu = scale.cpu[name]
        cells = " | ".join(f"{times[size]:.2f} ({cpu[size]:.2f})" for size in sizes)
        lines.append(f"| {name} | {cells} | {cpu[sizes[-1]] / cpu[sizes[0]]:.1f} |")
    return "\n".join(lines)


def plot(scale: Scale, path: str) -> None:
    """Draw the processor times over the number of environments as SVG, both axes logarithmic."""
    from math import log10  # noqa: PLC0415 - the only user

    sizes = sorted(scale.files)
    least = min(min(times.values()) for times in scale.cpu.values())
    most = max(max(times.values()) for times in scale.cpu.values())
    low, high = log10(least) - 0.1, log10(most) + 0.1
    left, right = log10(sizes[0]), log10(sizes[-1]) or 1

    def point(size: int, seconds: float) -> tuple[float, float]:
        across = (log10(size) - left) / max(right - left, 1e-9)
        return 70 + across * 480, 380 - (log10(seconds) - low) / (high - low) * 350

    colours = ("#3f7fd9", "#e08a3c", "#2f9e8f", "#b0413e", "#7a5cc0", "#5d6879", "#a08a2c", "#20794e")
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 430" font-family="sans-serif">',
        '<style>text { font-size: 13px }</style><rect width="760" height="430" fill="#fff"/>',
    ]
    for seconds in (0.1, 0.3, 1, 3, 10, 30, 100):
        if least * 0.8 <= seconds <= most * 1.2:
            y = point(sizes[0], seconds)[1]
            parts.append(f'<path d="M70 {y:.1f}H550" stroke="#dfe3ea"/>')
            parts.append(f'<text x="62" y="{y + 4:.1f}" text-anchor="end">{seconds:g} s</text>')
    parts.extend(
        f'<text x="{point(size, least)[0]:.1f}" y="402" text-anchor="middle">{size}</text>' for size in sizes
    )
    y = point(sizes[0], GOAL)[1]
    parts.append(f'<path d="M70 {y:.1f}H550" stroke="#1c2430" stroke-dasharray="5 4"/>')
    parts.append('<text x="310" y="424" text-anchor="middle">environments; seconds of CPU</text>')
    for number, (name, times) in enumerate(scale.cpu.items()):
        colour = colours[number % len(colours)]
        dots = [point(size, times[size]) for size in sizes]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots)
        parts.append(f'<text x="572" y="{60 + 24 * number}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="572" y="36">- - goal: {GOAL} s</text></svg>\n')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--distributions", type=int, default=150)
    parser.add_argument("--known", type=int, default=400)
    parser.add_argument("--files", type=int, default=12, help="of a distribution")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", help="an empty folder; a temporary one is made and removed otherwise")
    parser.add_argument("--plot", metavar="FILE.svg")
    options = parser.parse_args()
    crowd = Crowd(
        environments=0, distributions=options.distributions, known=options.known, files=options.files
    )
    place = options.place or tempfile.mkdtemp(prefix="pipm-scale-")
    try:
        scale = measure(os.path.realpath(place), sorted(options.sizes), options.rounds, crowd)
    finally:
        if not options.place:
            shutil.rmtree(place, ignore_errors=True)
    print(table(scale))
    if options.plot:
        plot(scale, options.plot)


if __name__ == "__main__":
    main()
