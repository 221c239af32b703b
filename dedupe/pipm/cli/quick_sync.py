"""`pipm sync` without typer, whose start takes longer than a second sync of an environment.

Only a command line that can mean but one thing is understood here; help, abbreviations, mistakes and whatever
else is left to typer, which has the last word.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipm.cli.exit_codes import DEFAULTS, run_guarded, run_program_to_end
from pipm.cli.option_words import FLAGS, LISTS

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMON_VALUES = {"--store": "store", "--color": "color"}
COMMON_FLAGS = {
    "-q": ("quiet", 1),
    "-qq": ("quiet", 2),
    "--quiet": ("quiet", 1),
    "-v": ("verbose", True),
    "--verbose": ("verbose", True),
    "--json": ("json", True),
}
VALUES = {"--env": "environment", "--python": "python", "--link-mode": "link_mode"}
_COMMAND = "sync"
_FOREIGN = ("PIPM_LINK_MODE", "_PIPM_COMPLETE")
"""Variables that typer reads."""


def quick_sync(words: Sequence[str]) -> int | None:
    """Do what ``pipm sync`` with *words* asks for; None where typer has to look at them."""
    if any(name in os.environ for name in _FOREIGN):
        return None
    found = parse_sync_words(words)
    if found is None:
        return None
    chosen, own = found

    def call() -> int:
        from pipm.cli.sync_output import SyncArguments, sync_environment  # noqa: PLC0415 - within the guard

        return run_guarded(
            chosen, lambda output, store: sync_environment(output, store, SyncArguments(**own))
        )

    return run_program_to_end(call)


def parse_sync_words(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The common settings and the arguments of sync that *words* mean; None where that is not plain."""
    rest, seen = list(words), False
    found: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if word == _COMMAND and not seen:
            seen = True
            continue
        meaning = _meaning(word, rest, seen=seen)
        if meaning is None:
            return None
        key, value = meaning
        if key in LISTS.values():
            found[key] = (*found.get(key, ()), value)
        elif key in found:
            return None
        else:
            found[key] = value
    common = {key: found.pop(key, default) for key, default in DEFAULTS.items()}
    return (common, {"lock": None, "environment": ".venv"} | found) if seen else None


def _meaning(word: str, rest: list[str], *, seen: bool) -> tuple[str, Any] | None:
    """What *word* sets, and to what; that may be the first of *rest*. *seen*: behind the command."""
    flags = COMMON_FLAGS | FLAGS if seen else COMMON_FLAGS
    values = COMMON_VALUES | VALUES | LISTS if seen else COMMON_VALUES
    name, equals, value = word.partition("=")
    if word in flags:
        return flags[word]
    if name in values:
        if not equals:
            value = rest.pop(0) if rest else ""
        return (values[name], value) if value and not value.startswith("-") else None
    return ("lock", word) if seen and word and not word.startswith("-") else None
