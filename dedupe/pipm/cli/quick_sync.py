"""`pipm sync` without typer, whose start takes longer than a second sync of an environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.cli.arguments import parse_words
from pipm.cli.exit_codes import run_guarded, run_program_to_end
from pipm.cli.option_table import COMMON, SYNC, SyncArguments

if TYPE_CHECKING:
    from collections.abc import Sequence


def quick_sync(words: Sequence[str]) -> int | None:
    """Do what ``pipm sync`` with *words* asks for; None where typer has to look at them."""
    found = parse_words(words, "sync", COMMON, SYNC, program=False)
    if found is None or "_PIPM_COMPLETE" in os.environ:
        return None
    settings, arguments = found

    def call() -> int:
        from pipm.cli.sync_output import sync_environment  # noqa: PLC0415 - within the guard

        return run_guarded(
            settings, lambda output, store: sync_environment(output, store, SyncArguments(arguments))
        )

    return run_program_to_end(call)
