"""The texts of `pipm help TOPIC`."""

from __future__ import annotations

import os

from pipm.core.environment_variables import VARIABLES
from pipm.errors import UsageError

_FOLDER = f"{os.path.dirname(__file__)}/topics"


def topics() -> list[str]:
    """Return the names of all topics, sorted."""
    return sorted(name.removesuffix(".txt") for name in os.listdir(_FOLDER))


def topic(name: str) -> str:
    """Return the text about *name*; raise UsageError if there is none."""
    if name not in topics():
        raise UsageError(
            f"There is no help on {name!r}", hint=f"topics: {', '.join(topics())}; commands: pipm -h"
        )
    with open(f"{_FOLDER}/{name}.txt", encoding="utf-8") as stream:
        text = stream.read().rstrip("\n")
    return text.replace("{variables}", "\n".join(f"  {key:<20} {value}" for key, value in VARIABLES.items()))
