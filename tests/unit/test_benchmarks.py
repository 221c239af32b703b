"""The tables that the benchmarks make from their records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import NAMES, README, tables_of
from benchmarks.record import FOLDER, Record, keep, read
from benchmarks.tables import TIMES, Part, Table, markdown, write_into

if TYPE_CHECKING:
    from pathlib import Path

TABLE = Table(
    "links",
    (Part("ext4", place="ext4", figures=TIMES), Part("XFS", place="xfs", figures=TIMES)),
    (
        Part("the same files / uv", "pipm", "uv", goal=1.0),
        Part("beyond uv", "pipm", "uv", unit="ms", goal=400),
        Part("memory", "pipm", figures=("peak",), unit="MiB"),
        Part("never run", "rdfind", "uv"),
    ),
)


def runs(place: str, contender: str, *walls: float) -> list[Record]:
    """Return a record for each of *walls*; half of the time is the processor's."""
    return [
        Record(place, contender, number, {"wall": wall, "processor": wall / 2, "peak": 3 << 20}, "on one day")
        for number, wall in enumerate(walls)
    ]


def test_a_table_has_ratios_of_rounds_and_goals() -> None:
    # The medians of the times are 1.0 and 1.0; a machine that was slow in one round disturbs both.
    records = [
        *runs("ext4", "pipm", 1.2, 12.0, 1.0),
        *runs("ext4", "uv", 1.0, 10.0, 0.5),
        *runs("xfs", "pipm", 1.5),
    ]
    assert markdown(TABLE, records).splitlines() == [
        "|  | ext4 | XFS | goal |",
        "|---|--:|--:|--:|",
        "| the same files / uv | **1.20** (1.20) |  | 1 |",
        "| beyond uv | **+500 ms** (+250 ms) |  | 400 |",
        "| memory | 3 MiB | 3 MiB |  |",
        "",
        "Rounds: 1 to 3. on one day.",
    ]
    assert markdown(TABLE, []) == "Not measured yet.\n"


def test_a_table_is_written_between_its_lines() -> None:
    text = "before\n<!-- begin links -->\nold\n<!-- end links -->\nafter\n"
    written = write_into(text, {"links": "| new |\n"})
    assert written == "before\n<!-- begin links -->\n| new |\n<!-- end links -->\nafter\n"
    assert write_into(written, {"links": "| new |\n"}) == written
    with pytest.raises(KeyError, match="no place for the table other"):
        write_into(text, {"other": ""})


def test_records_of_what_is_measured_again_are_replaced(tmp_path: Path) -> None:
    keep("sync", [*runs("ext4", "pipm", 1, 2), *runs("ext4", "uv", 3), *runs("xfs", "pipm", 4)], tmp_path)
    keep("sync", runs("ext4", "pipm", 5), tmp_path)
    assert read("sync", tmp_path) == [
        *runs("ext4", "uv", 3),
        *runs("xfs", "pipm", 4),
        *runs("ext4", "pipm", 5),
    ]
    assert read("adopt", tmp_path) == []


def test_the_page_has_the_tables_of_the_records() -> None:
    text = README.read_text(encoding="utf-8")
    assert write_into(text, tables_of(NAMES, FOLDER)) == text
