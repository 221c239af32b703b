"""One line about places with packages that pipm does not handle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.format_text import counted, path_text
from pipm.core.size_text import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.inspect.not_handled import NotHandled

_MOST_SHOWN = 4


def print_not_handled(output: Output, places: Sequence[NotHandled]) -> None:
    """Count the *places* and name the largest."""
    if not places:
        return
    largest = sorted(places, key=lambda one: -one.on_disk)
    shown = largest if output.verbose else largest[:_MOST_SHOWN]
    named = ", ".join(f"{path_text(one.path)} ({size_text(one.on_disk)}, {one.why})" for one in shown)
    more = f", {len(places) - len(shown)} more (`--verbose`)" if len(places) > len(shown) else ""
    total = size_text(sum(one.on_disk for one in places))
    output.note("note", f"not handled: {counted(len(places), 'place')}, {total}: {named}{more}")


def not_handled_rows(places: Sequence[NotHandled]) -> list[dict[str, object]]:
    """Return the JSON of *places*."""
    return [{"path": one.path, "on_disk": one.on_disk, "reason": one.why} for one in places]
