"""Print records as markdown tables.

    python -m benchmarks.table [--ratios] RECORDS

Every ratio is against the peer with the smallest median wall time on the same file system with the
same cache; bytes are against the peer that freed most. `--ratios` leaves out what only holds on one
machine.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.record import Pass, Record, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bests:
    """What the peers reached on one file system."""

    fastest: Sequence[Record]
    freed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure of a contender, from all its records."""

    title: str
    cell: Callable[[Sequence[Record], Bests], str]
    absolute: bool = False


def markdown(records: Sequence[Record], *, ratios_only: bool = False) -> str:
    """Return one table for each file system and cache, and one of memory."""
    columns = [column for column in COLUMNS if not (ratios_only and column.absolute)]
    parts = []
    for purpose in (Pass.WARM, Pass.COLD):
        for file_system in unique(record.file_system for record in records):
            chosen = [r for r in records if (r.purpose, r.file_system) == (purpose, file_system)]
            if chosen:
                parts.append(f"### {file_system}, {purpose.value} cache\n\n{table(chosen, columns)}")
    memory = [record for record in records if record.purpose is Pass.MEMORY]
    if memory:
        parts.append(f"### Memory\n\n{memory_table(memory)}")
    return "\n\n".join(parts)


def table(records: Sequence[Record], columns: Sequence[Column]) -> str:
    """Return the table of one file system: pipm first, then the peers by time."""
    by_name = {name: of(records, name) for name in unique(r.contender for r in records)}
    peers = [runs for runs in by_name.values() if not runs[0].is_pipm] or list(by_name.values())
    bests = Bests(
        fastest=min(peers, key=lambda runs: middle(runs, lambda r: r.first.wall)),
        freed=max(middle(runs, lambda r: r.freed) for runs in peers),
    )
    ordered = sorted(
        by_name.items(),
        key=lambda item: (not item[1][0].is_pipm, middle(item[1], lambda r: r.first.wall)),
    )
    rows = [[name, *(column.cell(runs, bests) for column in columns)] for name, runs in ordered]
    return rows_to_markdown(["", *(column.title for column in columns)], rows)


def memory_table(records: Sequence[Record]) -> str:
    """Return the peak memory of all of pipm's processes together."""
    rows = [
        [record.file_system, record.contender, f"{(record.sampled_bytes or 0) / MEBIBYTE:.0f}"]
        for record in records
    ]
    return rows_to_markdown(["", "", "all processes, peak MiB"], rows)


def rows_to_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table, figures to the right."""
    rule = ["---", *("---:" for _ in titles[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, rule, *rows])


def unique(names: Iterable[str]) -> list[str]:
    """Return the names in the order of their first appearance."""
    return list(dict.fromkeys(names))


def of(records: Sequence[Record], contender: str) -> list[Record]:
    """Return the records of one contender."""
    return [record for record in records if record.contender == contender]


def middle(runs: Sequence[Record], figure: Callable[[Record], float]) -> float:
    """Return the median of a figure."""
    return median(map(figure, runs))


def ratio(figure: Callable[[Record], float]) -> Callable[[Sequence[Record], Bests], str]:
    """Return the cell of a figure's median against the fastest peer's, with its spread."""

    def cell(runs: Sequence[Record], bests: Bests) -> str:
        unit = middle(bests.fastest, figure)
        spread = sorted(figure(run) / unit for run in runs)
        text = f"{middle(runs, figure) / unit:.2f}"
        return text if len(runs) == 1 else f"{text} ({spread[0]:.2f}-{spread[-1]:.2f})"

    return cell


def seconds(figure: Callable[[Record], float]) -> Callable[[Sequence[Record], Bests], str]:
    """Return the cell of a time's median with its spread."""

    def cell(runs: Sequence[Record], _: Bests) -> str:
        values = sorted(map(figure, runs))
        text = f"{middle(runs, figure):.2f}"
        return text if len(runs) == 1 else f"{text} ({values[0]:.2f}-{values[-1]:.2f})"

    return cell


def count(figure: Callable[[Record], float]) -> Callable[[Sequence[Record], Bests], str]:
    """Return the cell of a count's median."""
    return lambda runs, _: f"{middle(runs, figure):,.0f}"


def claim(runs: Sequence[Record], _: Bests) -> str:
    """Return what the program says it freed against what the file system says."""
    claims = [run.claimed / run.freed for run in runs if run.claimed is not None and run.freed]
    return f"{median(claims):.3f}" if claims else ""


COLUMNS = [
    Column(title="wall s", cell=seconds(lambda r: r.first.wall), absolute=True),
    Column(title="CPU s", cell=seconds(lambda r: r.first.cpu), absolute=True),
    Column(title="read MB", cell=count(lambda r: r.first.read_bytes / 1e6), absolute=True),
    Column(title="others' CPU s", cell=seconds(lambda r: r.first.other_cpu), absolute=True),
    Column(title="freed MB", cell=count(lambda r: r.freed / 1e6), absolute=True),
    Column(title="wall ratio", cell=ratio(lambda r: r.first.wall)),
    Column(title="ratio to disk", cell=ratio(lambda r: r.wall_on_disk)),
    Column(title="CPU ratio", cell=ratio(lambda r: r.first.cpu)),
    Column(title="freed ratio", cell=lambda runs, b: f"{middle(runs, lambda r: r.freed) / b.freed:.3f}"),
    Column(title="claimed / freed", cell=claim),
    Column(title="inodes freed", cell=count(lambda r: r.inodes_freed)),
    Column(title="stale pyc", cell=count(lambda r: r.stale_bytecode)),
    Column(title="peak MiB", cell=count(lambda r: r.first.peak_bytes / MEBIBYTE)),
    Column(
        title="again / first",
        cell=lambda runs, _: f"{middle(runs, lambda r: r.again.wall / r.first.wall):.3f}",
    ),
]


def main() -> None:
    """Print the tables of a file of records."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--ratios", action="store_true")
    arguments = parser.parse_args()
    print(markdown(read(arguments.records), ratios_only=arguments.ratios))


if __name__ == "__main__":
    main()
