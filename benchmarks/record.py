"""What one run of one contender showed; `records/NAME.jsonl` keeps the last measurement of each benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = Path(__file__).parent / "records"


class Record(NamedTuple):
    """One run: seconds and bytes by name in ``figures``; runs of one round and place are compared.

    ``place`` is what the tables have a column for: a file system, a number of environments, a program.
    """

    place: str
    contender: str
    round: int
    figures: Mapping[str, float]
    seen: str = ""
    """The day, the machine, and whether it was a quick run."""


def read(name: str, folder: Path = FOLDER) -> list[Record]:
    """Return the records of benchmark *name*; none if it was never run."""
    path = folder / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Record(**json.loads(line)) for line in lines]


def keep(name: str, records: Iterable[Record], folder: Path = FOLDER) -> None:
    """Keep *records* of benchmark *name* in place of earlier ones of the same contenders and places."""
    new = list(records)
    measured = {(record.place, record.contender) for record in new}
    kept = [one for one in read(name, folder) if (one.place, one.contender) not in measured]
    folder.mkdir(exist_ok=True)
    text = "".join(f"{json.dumps(one._asdict())}\n" for one in [*kept, *new])
    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
