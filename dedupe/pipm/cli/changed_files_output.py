"""Warnings about shared files that a program changed in place."""

from __future__ import annotations

import time

from pipm.cli.format_text import counted
from pipm.fs.cache_files import read_value, write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output

_DAY = 86400


def warn_of_changes(output: Output, changed: Sequence[str]) -> None:
    """Print a warning that names the *changed* files of the store, if there are any."""
    if changed:
        output.note("warning", changes_text(len(changed)))
        output.named(changed)


def changes_text(number: int) -> str:
    """Return the warning about *number* changed files."""
    verb = "was" if number == 1 else "were"
    return (
        f"{counted(number, 'shared file')} {verb} changed in place, for all environments:"
        " pipm verify --repair"
    )


def changes_below(store_path: str, environment: str) -> tuple[str, ...]:
    """Find the changed files of the store that *environment* shares, by one stat for each file."""
    from pipm.store.entries import changed_files  # noqa: PLC0415 - once a day for an environment
    from pipm.store.layout import open_store  # noqa: PLC0415 - likewise
    from pipm.store.roots import find_root  # noqa: PLC0415 - likewise

    store = open_store(store_path, create=False)
    root = None if store is None else find_root(store, environment)
    return () if store is None or root is None else tuple(changed_files(store, root.entries))


def daily_changes_below(store_path: str, environment: str) -> tuple[str, ...]:
    """Like `changes_below`, but at most once a day for an environment, until something is found."""
    state, today = f"{store_path}\0{environment}", int(time.time()) // _DAY
    if read_value("changes", state) == today:
        return ()
    changed = changes_below(store_path, environment)
    if not changed:
        write_value("changes", state, today)
    return changed
