"""Time `pipm adopt` of all environments of a corpus against programs that share equal files.

    python -m benchmarks.adopt --corpus DIR [--filesystem ext4] [--rounds 3] [--cold-rounds 1]
                               [--memory-rounds 1] [--only NAME] [--python PYTHON] [--records FILE]

Needs root and mkfs for loop images; a peer that is not installed is left out. Every run has a fresh
file system with a fresh copy of the corpus; the contenders take turns in every round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import record, table
from benchmarks.contenders import Contender, contenders
from benchmarks.corpus import environments_below
from benchmarks.process import (
    REPOSITORY,
    MemorySampler,
    Timing,
    child_environment,
    end_on_signals,
    output,
    timed,
)
from benchmarks.record import Pass, Record
from benchmarks.volume import MAKE, Volume, fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GIBIBYTE = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run to make."""

    file_system: str
    purpose: Pass
    contender: Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the corpus is and where the images may be made."""

    environments: Sequence[Path]
    inodes: int  # of the environments
    scratch: Path
    size: int


def measure(case: Case, bench: Bench) -> Record:
    """Run a contender on a fresh copy of the corpus and take down what it did."""
    with fresh_volume(case.file_system, bench.scratch, bench.size) as volume:
        copies = copy_environments(bench.environments, volume)
        used = volume.used_bytes()
        if case.purpose is Pass.COLD:
            volume.unmount()
            volume.mount()
        else:
            read_all(copies)
        with contextlib.ExitStack() as sampling:
            sampler = None
            if case.purpose is Pass.MEMORY:
                sampler = sampling.enter_context(MemorySampler())
            first, claimed = run(case.contender, volume, copies, bench.scratch)
        sync = volume.sync()
        freed = used - volume.used_bytes()
        facts = tree_facts(existing(volume, copies))
        again, _ = run(case.contender, volume, copies, bench.scratch)
    return Record(
        file_system=case.file_system,
        purpose=case.purpose,
        contender=case.contender.name,
        is_pipm=case.contender.is_pipm,
        first=first,
        again=again,
        sync=sync,
        freed=freed,
        inodes_freed=bench.inodes - facts["inodes"],
        stale_bytecode=facts["stale_bytecode"],
        claimed=claimed,
        sampled_bytes=sampler.peak_bytes if sampler else None,
    )


def run(
    contender: Contender, volume: Volume, environments: Sequence[Path], scratch: Path
) -> tuple[Timing, int | None]:
    """Run a contender once; return its cost and, from pipm, the bytes it says it freed."""
    stdout, stderr = scratch / "stdout", scratch / "stderr"
    command = contender.command(volume.path, environments)
    timing = timed(command, stdout=stdout, stderr=stderr)
    if not contender.succeeded(timing.exit_code):
        sys.exit(f"{command} ended with {timing.exit_code}:\n{stderr.read_text()[-4000:]}")
    if not contender.is_pipm:
        return timing, None
    report = json.loads(stdout.read_text())
    return timing, sum(environment["bytes_freed"] for environment in report["environments"])


def copy_environments(environments: Sequence[Path], volume: Volume) -> list[Path]:
    """Copy the environments with their times and write them out; return the copies."""
    folder = volume.path / "environments"
    folder.mkdir()
    command = ["cp", "-a", "--reflink=never", *map(str, environments), str(folder)]
    subprocess.run(command, check=True)
    return [folder / environment.name for environment in environments]


def read_all(folders: Sequence[Path]) -> None:
    """Bring every file below the folders into the page cache."""
    command = ["find", *map(str, folders), "-type", "f", "-exec", "cat", "{}", "+"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def existing(volume: Volume, environments: Sequence[Path]) -> list[Path]:
    """Return the environments and, when there is one, the store."""
    store = volume.path / "store"
    return [*environments, store] if store.exists() else [*environments]


def tree_facts(folders: Sequence[Path]) -> dict[str, int]:
    """Return the facts of the folders, counted in a process of its own (see `process.timed`)."""
    printed = output([sys.executable, "-m", "benchmarks.tree", *map(str, folders)])
    facts: dict[str, int] = json.loads(printed)
    return facts


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield the runs: every round has each contender once, another one first each time."""
    chosen = [c for c in contenders(arguments.python) if wanted(c, arguments.only)]
    rounds = {
        Pass.WARM: arguments.rounds,
        Pass.COLD: arguments.cold_rounds,
        Pass.MEMORY: arguments.memory_rounds,
    }
    for file_system in arguments.filesystem or MAKE:
        able = [contender for contender in chosen if contender.available(file_system)]
        for purpose, times in rounds.items():
            for number in range(times):
                turn = number % max(len(able), 1)
                for contender in able[turn:] + able[:turn]:
                    if contender.is_pipm or purpose is not Pass.MEMORY:
                        yield Case(file_system=file_system, purpose=purpose, contender=contender)


def wanted(contender: Contender, only: Sequence[str] | None) -> bool:
    """Return whether a contender was asked for by (part of) its name."""
    return only is None or any(part in contender.name for part in only)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adopt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", type=Path, required=True, metavar="DIR")
    add("--filesystem", nargs="+", choices=sorted(MAKE), help="default: all")
    add("--rounds", type=int, default=3, help="with a warm cache")
    add("--cold-rounds", type=int, default=1)
    add("--memory-rounds", type=int, default=1)
    add("--only", nargs="+", metavar="NAME", help="contenders whose names hold one of these")
    add("--python", default=sys.executable, help="interpreter that runs pipm")
    add("--records", type=Path, metavar="FILE", help="append every run as a JSON line")
    add("--scratch", type=Path, metavar="DIR", help="where the images lie; default: beside DIR")
    add("--gibibytes", type=int, default=12, help="size of a (sparse) image")
    return parser.parse_args()


def main() -> None:
    """Make all runs, then print the tables."""
    arguments = parse_arguments()
    end_on_signals()
    environments = environments_below(arguments.corpus.resolve())
    if not environments:
        sys.exit(f"no environments in {arguments.corpus}; hint: python -m benchmarks.corpus")
    warm_up(arguments.python)
    records: list[Record] = []
    scratch = arguments.scratch or arguments.corpus.resolve().parent
    with tempfile.TemporaryDirectory(dir=scratch, prefix="adopt-") as folder:
        size = arguments.gibibytes * GIBIBYTE
        inodes = tree_facts(environments)["inodes"]
        bench = Bench(environments=environments, inodes=inodes, scratch=Path(folder), size=size)
        for case in cases(arguments):
            made = measure(case, bench)
            records.append(made)
            if arguments.records:
                record.append(arguments.records, made)
            words = f"{case.file_system} {case.purpose.value} {case.contender.name}"
            print(f"{words}: {made.first.wall:.2f} s", file=sys.stderr, flush=True)
    print(table.markdown(records))


def warm_up(python: str) -> None:
    """Compile pipm's modules, which an installer does for its users."""
    command = [python, "-m", "compileall", "-q", str(REPOSITORY / "dedupe")]
    subprocess.run(command, check=True, env=child_environment())


if __name__ == "__main__":
    main()
