"""Say where the time of one `pipm adopt` goes, per file of the corpus.

    python -m benchmarks.profile_adopt --corpus DIR [--filesystem xfs] [--link-mode hardlink]
                                       [--python PYTHON] [--scratch DIR] [--rows 25]

Three runs, each on a fresh copy with a warm cache: a plain one for the whole; one under cProfile, on
one processor, which leaves all work in the process that is profiled, and makes calls dearer; one under
`strace -c -f`, which sees all processes and makes syscalls dearer. Shares are to be trusted, sums only
in the plain run.
"""

from __future__ import annotations

import argparse
import os
import pstats
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.adopt import GIBIBYTE, Bench, copy_environments, read_all, tree_facts, warm_up
from benchmarks.contenders import Contender, Link, pipm
from benchmarks.corpus import environments_below
from benchmarks.process import REPOSITORY, Timing, end_on_signals, timed
from benchmarks.table import rows_to_markdown
from benchmarks.volume import MAKE, fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one function or syscall took altogether."""

    name: str
    seconds: float
    calls: int


def adopt_under(wrapper: Sequence[str], contender: Contender, file_system: str, bench: Bench) -> Timing:
    """Run the contender on a fresh copy, its interpreter behind `wrapper`."""
    with fresh_volume(file_system, bench.scratch, bench.size) as volume:
        copies = copy_environments(bench.environments, volume)
        volume.sync()
        read_all(copies)
        command = [*wrapper, *contender.command(volume.path, copies)]
        stderr = bench.scratch / "stderr"
        timing = timed(command, stdout=bench.scratch / "stdout", stderr=stderr)
    if not contender.succeeded(timing.exit_code):
        sys.exit(f"{command} ended with {timing.exit_code}:\n{stderr.read_text()[-4000:]}")
    return timing


def profiled(contender: Contender, profile: Path) -> Contender:
    """Return the contender as run under cProfile."""
    python, *rest = contender.options
    options = (python, "-m", "cProfile", "-o", str(profile), *rest)
    return Contender(name="profile", link=contender.link, options=options, is_pipm=True)


def functions(profile: Path) -> tuple[list[Cost], list[Cost]]:
    """Return the cost of our functions with what they call, and of each module or builtin alone."""
    within: list[Cost] = []
    alone: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, _, function), row in pstats.Stats(str(profile)).stats.items():  # type: ignore[attr-defined]
        _, count, own, total, _ = row
        name = function if file == "~" else module_name(file)
        alone[name] += own
        calls[name] += count
        if file.startswith(str(REPOSITORY)):
            within.append(Cost(name=f"{name}:{function}", seconds=total, calls=count))
    modules = [Cost(name=name, seconds=own, calls=calls[name]) for name, own in alone.items()]
    return within, modules


def module_name(file: str) -> str:
    """Return a short name for a source file: ours by its path, others by their name."""
    path = Path(file)
    if path.is_relative_to(REPOSITORY):
        return str(path.relative_to(REPOSITORY))
    return f"{path.parent.name}/{path.name}"


def syscalls(summary: Path) -> list[Cost]:
    """Return the rows of `strace -c -U name,time-total,calls`."""
    costs = []
    for line in summary.read_text().splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2].isdecimal() and fields[0] != "total":
            costs.append(Cost(name=fields[0], seconds=float(fields[1]), calls=int(fields[2])))
    return costs


def show(title: str, costs: Iterable[Cost], files: int, rows: int) -> None:
    """Print the dearest costs, per file of the corpus."""
    dearest = sorted(costs, key=lambda cost: -cost.seconds)[:rows]
    cells = [
        [cost.name, f"{cost.seconds / files * MICROSECONDS:.2f}", f"{cost.calls / files:.3f}"]
        for cost in dearest
    ]
    print(f"\n### {title}\n\n{rows_to_markdown(['', 'us per file', 'calls per file'], cells)}")


def main() -> None:
    """Make the three runs and print their tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_adopt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", type=Path, required=True, metavar="DIR")
    add("--filesystem", choices=sorted(MAKE), default="ext4")
    add("--link-mode", choices=[link.value for link in Link], default="hardlink")
    add("--python", default=sys.executable, help="interpreter that runs pipm")
    add("--scratch", type=Path, metavar="DIR", help="where the images lie; default: beside DIR")
    add("--gibibytes", type=int, default=12)
    add("--rows", type=int, default=25)
    arguments = parser.parse_args()
    end_on_signals()
    corpus = arguments.corpus.resolve()
    environments = environments_below(corpus)
    facts = tree_facts(environments)
    files, inodes = facts["files"], facts["inodes"]
    link = Link(arguments.link_mode)
    options = pipm(arguments.python, link.value)
    contender = Contender(name="pipm", link=link, options=options, is_pipm=True)
    warm_up(arguments.python)
    scratch = arguments.scratch or corpus.parent
    with tempfile.TemporaryDirectory(dir=scratch, prefix="profile-") as folder:
        size = arguments.gibibytes * GIBIBYTE
        bench = Bench(environments=environments, inodes=inodes, scratch=Path(folder), size=size)
        plain = adopt_under((), contender, arguments.filesystem, bench)
        profile, summary = Path(folder, "profile"), Path(folder, "strace")
        one_processor = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
        adopt_under(one_processor, profiled(contender, profile), arguments.filesystem, bench)
        strace = ("strace", "-f", "-c", "-w", "-U", "name,time-total,calls", "-o", str(summary))
        adopt_under(strace, contender, arguments.filesystem, bench)
        within, alone = functions(profile)
        costs = syscalls(summary)
    wall, cpu = (seconds / files * MICROSECONDS for seconds in (plain.wall, plain.cpu))
    print(f"{files:,} files; plain run, us per file: wall {wall:.1f}, CPU {cpu:.1f}")
    show("Functions of pipm with all they call", within, files, arguments.rows)
    show("Modules and builtins alone", alone, files, arguments.rows)
    show("Syscalls of all processes", costs, files, arguments.rows)


if __name__ == "__main__":
    main()
