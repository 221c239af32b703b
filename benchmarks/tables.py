"""Markdown tables of records, and the places of README.md that they are written to.

A cell is the median of the rounds. With a peer it is the ratio (or the difference) within a round, so that
what else a machine does disturbs both. Several figures are shown as ``first (second)``; the first is bold
where the goal is missed.
"""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.record import Record

TIMES = ("wall", "processor")
_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "MB": 1e6, "MiB": float(1 << 20)}


class Part(NamedTuple):
    """A row or a column: what its cells have in common. What a row leaves empty, its column says.

    Without *peer* a cell shows the figures of *mine* in *unit*. With it the cell shows a ratio, or a
    difference where *unit* is given. ``goal`` is the most that the first figure may be.
    """

    title: str
    mine: str = ""
    peer: str = ""
    place: str = ""
    figures: tuple[str, ...] = ()
    unit: str = ""
    goal: float | None = None


class Table(NamedTuple):
    """The table ``name`` of README.md."""

    name: str
    columns: tuple[Part, ...]
    rows: tuple[Part, ...]


def markdown(table: Table, records: Sequence[Record]) -> str:
    """Return *table* of *records*, with a line about their origin; rows without any figure are left out."""
    by_round: dict[tuple[str, str], dict[int, Mapping[str, float]]] = {}
    for record in records:
        by_round.setdefault((record.place, record.contender), {})[record.round] = record.figures
    rows = [(row, [_cell(_joined(row, column), by_round) for column in table.columns]) for row in table.rows]
    rows = [(row, cells) for row, cells in rows if any(cells)]
    if not rows:
        return "Not measured yet.\n"
    has_goals = any(row.goal is not None for row, _ in rows)
    heads = ["", *(column.title for column in table.columns), *(["goal"] if has_goals else [])]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for row, cells in rows:
        goal = [] if not has_goals else ["" if row.goal is None else f"{row.goal:g}"]
        lines.append(f"| {' | '.join([row.title, *cells, *goal])} |")
    rounds = sorted({len(found) for found in by_round.values()})
    seen = "; ".join(sorted({record.seen for record in records}))
    span = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else f"{rounds[0]}"
    return "\n".join([*lines, "", f"Rounds: {span}. {seen}."]) + "\n"


def write_into(text: str, tables: Mapping[str, str]) -> str:
    """Return *text* with each of *tables* between the lines that begin and end it; KeyError without them."""
    for name, table in tables.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise KeyError(f"README.md has no place for the table {name}: {begin} and {end}")
        replaced = f"{begin}\n{table}{end}"
        text = pattern.sub(lambda _, replaced=replaced: replaced, text)  # type: ignore[misc]
    return text


def _joined(row: Part, column: Part) -> Part:
    pairs = zip(row, column, strict=True)
    return Part(*(there if here in ("", (), None) else here for here, there in pairs))  # type: ignore[arg-type]


def _cell(part: Part, by_round: Mapping[tuple[str, str], Mapping[int, Mapping[str, float]]]) -> str:
    mine = by_round.get((part.place, part.mine), {})
    peer = by_round.get((part.place, part.peer), {}) if part.peer else mine
    rounds = sorted(mine.keys() & peer.keys())
    texts: list[str] = []
    for figure in part.figures:
        values = [_value(part, mine[one], peer[one], figure) for one in rounds if figure in mine[one]]
        if values:
            middle = statistics.median(values)
            text = _text(part, middle)
            missed = not texts and part.goal is not None and middle > part.goal
            texts.append(f"**{text}**" if missed else text)
    return f"{texts[0]} ({', '.join(texts[1:])})" if len(texts) > 1 else "".join(texts)


def _value(part: Part, mine: Mapping[str, float], peer: Mapping[str, float], figure: str) -> float:
    if not part.peer:
        return mine[figure] / _UNITS[part.unit]
    if part.unit:
        return (mine[figure] - peer[figure]) / _UNITS[part.unit]
    return mine[figure] / peer[figure]


def _text(part: Part, value: float) -> str:
    sign = "+" if part.peer and part.unit else ""
    digits = 2 if part.unit in ("", "s") and not value.is_integer() else 0
    if part.unit == "ms" and abs(value) < 10:
        digits = 1
    return f"{value:{sign},.{digits}f}".replace(",", " ") + (f" {part.unit}" if part.unit else "")
