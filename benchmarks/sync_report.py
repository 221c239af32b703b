"""The table and the drawing of what benchmarks.sync measured: ratios of a round's two runs, with goals."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Runs = Mapping[str, Sequence[Sequence[float]]]


class Question(NamedTuple):
    """A ratio: *mine* over *peer*; ``goals`` for hard links and for reflinks, if there are."""

    mine: str
    peer: str
    what: str
    goals: tuple[float | None, float | None] = (None, None)
    more: bool = False
    """Asks for the difference, too, in milliseconds."""


QUESTIONS = (
    Question("pipm, no bytecode", "uv", "the same files", (1.0, 0.9)),
    Question("pipm, no bytecode", "floor", "over the least possible", (1.6, None)),
    Question("pipm", "uv", "with bytecode that uv does not bring", (1.1, 1.1)),
    Question("pipm copies, no bytecode", "uv copies", "every file copied"),
    Question("pipm, then import", "uv, then import", "lock to first import", (0.35, 0.35)),
    Question(
        "pipm again, then import", "uv with bytecode, then import", "the same, uv compiles", (0.12, 0.12)
    ),
    Question("pipm again", "uv with bytecode", "both with bytecode"),
    Question("pipm again", "pip", "both with bytecode, pip's wheels on this disk"),
    Question("uv sync --frozen", "uv sync --frozen --offline", "uv's ways, compared"),
    Question("uv pip sync pylock.toml --offline", "uv sync --frozen --offline", "uv's ways, compared"),
    Question("uv pip sync pylock.toml", "uv sync --frozen --offline", "uv's ways, compared"),
    Question("pipm, nothing to do", "uv, nothing to do", "a second sync"),
    Question("pipm adds one", "uv adds one", "one of 161 distributions is missing"),
    Question("finder", "pipm --version", "nothing but metadata, scripts and data", more=True),
    Question("finder, no metadata folders", "pipm --version", "not even metadata", more=True),
    Question("finder, nothing to do", "pipm --version", "a second sync", more=True),
    Question("finder", "pipm by links", "both by pipm"),
    Question("finder", "uv by links", "against uv", (0.35, 0.35)),
    Question("finder, then import", "uv by links, then import", "lock to first import", (0.35, 0.35)),
    Question("pipm, no bytecode, cold", "uv, cold", "downloads included", (1.2, 1.2)),
    Question("pipm, cold", "uv with bytecode, cold", "downloads and bytecode included", (1.0, 1.0)),
)


class Row(NamedTuple):
    """One question on one file system: medians of wall and processor ratios, the spread of the first."""

    kind: str
    question: Question
    wall: float
    least: float
    most: float
    processor: float
    rounds: int
    more: tuple[float, float]
    """Medians of the differences in milliseconds, wall and processor."""

    @property
    def goal(self) -> float | None:
        """What the ratio should be at most."""
        return self.question.goals[0 if self.kind == "ext4" else 1]


def rows_of(kind: str, runs: Runs) -> list[Row]:
    """Answer all questions that *runs* have figures for."""
    rows = []
    for question in QUESTIONS:
        if question.mine in runs and question.peer in runs:
            pairs = list(zip(runs[question.mine], runs[question.peer], strict=True))
            wall = [mine[0] / peer[0] for mine, peer in pairs]
            processor = [mine[1] / peer[1] for mine, peer in pairs]
            middle = statistics.median
            more = [[(mine[n] - peer[n]) * 1000 for mine, peer in pairs] for n in (0, 1)]
            rows.append(
                Row(
                    kind=kind,
                    question=question,
                    wall=middle(wall),
                    least=min(wall),
                    most=max(wall),
                    processor=middle(processor),
                    rounds=len(pairs),
                    more=(middle(more[0]), middle(more[1])),
                )
            )
    return rows


def report(found: Mapping[str, Runs]) -> list[Row]:
    """Print the table; returns its rows."""
    rows = [row for kind, runs in found.items() for row in rows_of(kind, runs)]
    print("| | mine / peer | | wall | smallest to largest | processor | goal | rounds |")
    print("|---|---|---|--:|---|--:|--:|--:|")
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal}"
        asked = f"{row.question.mine} / {row.question.peer} | {row.question.what}"
        if row.question.more:
            asked += f" ({row.more[0]:+.0f} ms, {row.more[1]:+.0f} ms of processor time)"
        spread = f"{row.least:.2f} to {row.most:.2f}"
        figures = f"{row.wall:.2f} | {spread} | {row.processor:.2f} | {goal} | {row.rounds}"
        print(f"| {row.kind} | {asked} | {figures} |")
    return rows


_LEFT, _WIDTH, _STEP = 420, 280, 24
_LARGEST = 3.0


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw a line of spread, a dot at the median and a stroke at the goal for each row."""
    height = 60 + _STEP * len(rows)
    title = "pipm sync: wall time over the peer's (dot: median, line: smallest to largest, red stroke: goal)"
    style = 'font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" {style}>',
        '<rect width="760" height="100%" fill="white"/>',
        f'<text x="12" y="20">{title}</text>',
    ]
    for tick in (0, 0.5, 1, 1.5, 2, 2.5, 3):
        x = _at(tick)
        parts.append(f'<line x1="{x}" y1="34" x2="{x}" y2="{height - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{tick}</text>')
    for number, row in enumerate(rows):
        y = 46 + _STEP * number
        label = f"{row.kind}: {row.question.mine} / {row.question.peer}"
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{label}</text>')
        ends = f'x1="{_at(row.least)}" x2="{_at(row.most)}"'
        parts.append(f'<line {ends} y1="{y}" y2="{y}" stroke="#357" stroke-width="2"/>')
        parts.append(f'<circle cx="{_at(row.wall)}" cy="{y}" r="4" fill="#357"/>')
        # The number speaks for a dot that lies beyond the edge.
        parts.append(f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 4}">{row.wall:.2f}</text>')
        if row.goal is not None:
            x = _at(row.goal)
            parts.append(
                f'<line x1="{x}" x2="{x}" y1="{y - 8}" y2="{y + 8}" stroke="#c33" stroke-width="2"/>'
            )
    path.write_text("\n".join([*parts, "</svg>\n"]))


def _at(ratio: float) -> float:
    return round(_LEFT + _WIDTH * min(ratio, _LARGEST) / _LARGEST, 1)
