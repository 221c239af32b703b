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
from benchmarks.growth import draw
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
        [sys.executable, "-m", "pipm", *command],
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
        draw(
            scale.cpu,
            options.plot,
            goal=GOAL,
            goal_text="goal",
            unit="s",
            axis="environments; seconds of CPU",
            least=0.01,
        )


if __name__ == "__main__":
    main()
