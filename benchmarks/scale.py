"""How df, list, gc -n and why grow with the number of environments.

Each command runs in a process of its own, in turn with the floors: what os.walk and a stat of every file of
the same trees take, and what reading the roots takes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.crowd import Crowd, add_environments, make_store
from benchmarks.record import Record
from benchmarks.tables import TIMES, Part, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.setting import Setting

COMMANDS = {
    "df, nothing measured before": ("df",),
    "df": ("df",),
    "df --exact": ("df", "--exact"),
    "list": ("list",),
    "gc -n": ("gc", "-n"),
    "why": ("why", "package7"),
}
SIZES = (100, 300, 1000, 3000)
ONCE = ("df, nothing measured before", "df --exact")
"""Once a size: they are not what the goal is about."""
_WALK, _ROOTS = "floor: os.walk and a stat of every file", "floor: reading the roots"


def times_of(work: Callable[[], object]) -> dict[str, float]:
    """Time *work* in this process."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - started, "processor": time.process_time() - busy}


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


def measure(setting: Setting) -> Iterator[Record]:
    """Let the crowd grow from size to size and time everything at each."""
    place = str(setting.folder("scale"))
    shutil.rmtree(place)
    store_path, folder = f"{place}/store", f"{place}/envs"
    crowd = Crowd(environments=0)
    store, entries = make_store(store_path, crowd, f"{place}/wheels")
    environ = {"PIPM_STORE": store_path, "XDG_CACHE_HOME": f"{place}/cache"}
    made = 0
    for size in map(int, setting.groups) if setting.groups else (30, 100) if setting.quick else SIZES:
        add_environments(store, entries, folder, replace(crowd, environments=size), first=made)
        made = size
        os.sync()
        for number in range(setting.count(1, 3)):
            if number == 0:
                shutil.rmtree(f"{place}/cache", ignore_errors=True)
                yield Record(
                    str(size), _WALK, number, times_of(lambda: walk(folder)) | {"files": walk(folder)}
                )
            yield Record(str(size), _ROOTS, number, times_of(lambda: read_roots(store_path)))
            for name, command in COMMANDS.items():
                if number == 0 or name not in ONCE:
                    found = setting.run([setting.pipm, *command], environ=environ)
                    yield Record(str(size), name, number, found)
    shutil.rmtree(place)


TABLES = (
    Table(
        "scale",
        tuple(Part(str(size), place=str(size), figures=TIMES, unit="s") for size in (30, *SIZES)),
        tuple(Part(name, name) for name in (_WALK, _ROOTS, *COMMANDS)),
    ),
)
