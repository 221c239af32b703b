"""`pipm adopt` of all environments of the corpus in one command, against programs that share equal files.

Every run has a fresh file system with a fresh copy of the corpus, written out and then read (warm) or mounted
anew (cold); the contenders take turns. The peers run with their defaults and as root, like pipm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.corpus import ENVIRONMENTS, Tools, build
from benchmarks.process import output
from benchmarks.record import Record
from benchmarks.setting import figures
from benchmarks.tables import TIMES, Part, Table
from benchmarks.volume import MAKE, fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.setting import Setting
    from benchmarks.volume import Volume

SIZE = 12 << 30
QUICK = ("api", "web")
"""The environments of a quick run."""
_PARTLY = 3
"""pipm's exit code where it left some files as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program with its options, which the environments' paths follow; ``kinds`` are its file systems."""

    name: str
    kinds: tuple[str, ...]
    options: tuple[str, ...]


def contenders(setting: Setting) -> list[Contender]:
    """Return pipm and those peers that are installed."""
    pipm = (setting.pipm, "--store", "{mount}/store", "--json", "adopt", "--link-mode")
    every, reflinks = ("ext4", "xfs", "btrfs"), ("xfs", "btrfs")
    rdfind = ("rdfind", "-makehardlinks", "true", "-makeresultsfile", "false")
    known = [
        Contender(name="pipm, hard links", kinds=every, options=(*pipm, "hardlink")),
        Contender(name="pipm, reflinks", kinds=reflinks, options=(*pipm, "reflink")),
        Contender(name="jdupes -L", kinds=every, options=("jdupes", "-q", "-r", "-L")),
        Contender(name="jdupes -B", kinds=reflinks, options=("jdupes", "-q", "-r", "-B")),
        Contender(name="rdfind", kinds=every, options=rdfind),
        Contender(name="hardlink -c", kinds=every, options=("hardlink", "-q", "-c")),
    ]
    wanted = setting.groups or (("pipm, hard links", "jdupes -L") if setting.quick else ())
    there = [one for one in known if shutil.which(one.options[0])]
    return [one for one in there if not wanted or one.name in wanted]


def measure(setting: Setting) -> Iterator[Record]:
    """Build the corpus, then run every contender on each file system, warm and cold."""
    folder = setting.folder("adopt")
    tools = Tools(python=setting.python, uv=setting.uv)
    (folder / "corpus").mkdir(exist_ok=True)
    names = QUICK if setting.quick else tuple(ENVIRONMENTS)
    for name in names:
        build(name, folder / "corpus", tools)
    environments = [folder / "corpus" / name for name in names]
    inodes = tree_facts(environments)["inodes"]
    for kind in setting.kinds or (("ext4",) if setting.quick else tuple(MAKE)):
        able = [one for one in contenders(setting) if kind in one.kinds]
        rounds = [(kind, number) for number in range(setting.count(1, 3))]
        cold = [] if setting.quick else [(f"{kind}, cold", 0)]
        for place, number in [*rounds, *cold]:
            turn = number % len(able)
            for contender in able[turn:] + able[:turn]:
                with fresh_volume(kind, folder, SIZE) as volume:
                    found = run(setting, contender, volume, environments, cold=place != kind)
                found["inodes freed"] += inodes
                yield Record(place, contender.name, number, found)


def run(
    setting: Setting, contender: Contender, volume: Volume, environments: Sequence[Path], *, cold: bool
) -> dict[str, float]:
    """Run a contender twice on a fresh copy of the corpus; return what it took and what it did."""
    folder = volume.path / "environments"
    folder.mkdir()
    subprocess.run(["cp", "-a", "--reflink=never", *map(str, environments), str(folder)], check=True)
    copies = [folder / environment.name for environment in environments]
    used = volume.used_bytes()
    if cold:
        volume.unmount()
        volume.mount()
    else:
        read = ["find", *map(str, copies), "-type", "f", "-exec", "cat", "{}", "+"]
        subprocess.run(read, check=True, stdout=subprocess.DEVNULL)
    options = [option.format(mount=volume.path) for option in contender.options]
    first = setting.timing([*options, *copies], allowed=(0, _PARTLY))
    said = setting.printed()
    sync = volume.sync()
    freed = used - volume.used_bytes()
    store = volume.path / "store"
    facts = tree_facts([*copies, store] if store.exists() else copies)
    again = setting.timing([*options, *copies], allowed=(0, _PARTLY))
    found = figures(first) | {
        "to disk": round(first.wall + sync, 4),
        "again / first": round(again.cpu / first.cpu, 4),
        "freed": freed,
        "inodes freed": -facts["inodes"],
        "stale bytecode": facts["stale_bytecode"],
        "peak": first.peak_bytes,
        "read": first.read_bytes,
        "others": round(first.other_cpu, 2),
    }
    if contender.name.startswith("pipm"):
        claimed = sum(environment["bytes_freed"] for environment in json.loads(said)["environments"])
        found["claimed / freed"] = round(claimed / freed, 4)
    return found


def tree_facts(folders: Sequence[Path]) -> dict[str, int]:
    """Return the facts of the folders, counted in a process of its own (see `process.timed`)."""
    printed = output([sys.executable, "-m", "benchmarks.tree", *map(str, folders)])
    facts: dict[str, int] = json.loads(printed)
    return facts


_PEERS = (
    ("ext4", "pipm, hard links", "jdupes -L"),
    ("xfs", "pipm, hard links", "jdupes -L"),
    ("xfs", "pipm, reflinks", "jdupes -B"),
    ("btrfs", "pipm, hard links", "jdupes -L"),
    ("btrfs", "pipm, reflinks", "jdupes -B"),
    ("ext4, cold", "pipm, hard links", "jdupes -L"),
    ("xfs, cold", "pipm, reflinks", "jdupes -B"),
    ("btrfs, cold", "pipm, reflinks", "jdupes -B"),
)
TABLES = (
    Table(
        "adopt",
        (
            Part("wall (processor), goal 1.0", figures=TIMES, goal=1.0),
            Part("to disk, goal 1.0", figures=("to disk",), goal=1.0),
            Part("freed", figures=("freed",)),
        ),
        tuple(Part(f"{place}: {mine} / {peer}", mine, peer, place) for place, mine, peer in _PEERS),
    ),
    Table(
        "adopt-facts",
        (
            Part("again / first (processor)", figures=("again / first",)),
            Part("inodes freed", figures=("inodes freed",)),
            Part("stale bytecode left", figures=("stale bytecode",)),
            Part("peak of the largest process", figures=("peak",), unit="MiB"),
            Part("claimed / freed", figures=("claimed / freed",)),
        ),
        tuple(
            Part(f"{place}: {name}", name, place=place)
            for place in MAKE
            for name in (
                "pipm, hard links",
                "pipm, reflinks",
                "jdupes -L",
                "jdupes -B",
                "rdfind",
                "hardlink -c",
            )
        ),
    ),
)
