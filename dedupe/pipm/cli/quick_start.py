"""Commands that start without typer, whose import takes longer than a second look at an environment."""

from __future__ import annotations

import os

from pipm.cli.arguments import parse_words
from pipm.cli.exit_codes import run_guarded, run_program_to_end
from pipm.cli.option_table import ADOPT, COMMON, SYNC, AdoptArguments, SyncArguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.cli.output import Output


def quick_adopt(words: Sequence[str]) -> int | None:
    """Run ``pipm adopt`` with *words*; return None if typer must read them."""

    def work(output: Output, store: str, arguments: dict[str, object]) -> int:
        from pipm.cli.environments_output import adopt_environments  # noqa: PLC0415 - within the guard

        return adopt_environments(output, store, AdoptArguments(arguments))

    return _start(words, "adopt", ADOPT, work)


def quick_sync(words: Sequence[str]) -> int | None:
    """Run ``pipm sync`` with *words*; return None if typer must read them."""

    def work(output: Output, store: str, arguments: dict[str, object]) -> int:
        from pipm.cli.sync_output import sync_environment  # noqa: PLC0415 - within the guard

        return sync_environment(output, store, SyncArguments(arguments))

    return _start(words, "sync", SYNC, work)


def _start(
    words: Sequence[str],
    command: str,
    own: dict[str, tuple[str, object]],
    work: Callable[[Output, str, dict[str, object]], int],
) -> int | None:
    found = parse_words(words, command, COMMON, own, program=False)
    if found is None or "_PIPM_COMPLETE" in os.environ:  # which typer reads
        return None
    settings, arguments = found
    return run_program_to_end(
        lambda: run_guarded(settings, lambda output, store: work(output, store, arguments))
    )
