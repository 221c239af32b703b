"""What one run of one contender showed."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Any

from benchmarks.process import Timing

if TYPE_CHECKING:
    from pathlib import Path


class Pass(enum.Enum):
    """What a run is made for."""

    WARM = "warm"  # everything has been read before
    COLD = "cold"  # the file system has just been mounted
    MEMORY = "memory"  # memory is sampled, which costs time


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run on a fresh copy of the corpus."""

    file_system: str
    purpose: Pass
    contender: str
    is_pipm: bool
    first: Timing
    again: Timing  # the same command once more, warm
    sync: float  # seconds of syncfs after the first run
    freed: int  # bytes, by the file system's own count
    inodes_freed: int
    stale_bytecode: int
    claimed: int | None  # bytes that the program says it freed
    sampled_bytes: int | None  # all processes together, in a memory pass

    @property
    def wall_on_disk(self) -> float:
        """Return the seconds until the work was on disk."""
        return self.first.wall + self.sync


def append(path: Path, record: Record) -> None:
    """Add a record to a file of JSON lines."""
    values = dataclasses.asdict(record) | {"purpose": record.purpose.value}
    with path.open("a") as file:
        print(json.dumps(values), file=file)


def read(path: Path) -> list[Record]:
    """Return the records of a file of JSON lines."""
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def from_dict(values: dict[str, Any]) -> Record:
    """Return the record of one JSON object."""
    timings = {name: Timing(**values[name]) for name in ("first", "again")}
    return Record(**(values | timings | {"purpose": Pass(values["purpose"])}))
