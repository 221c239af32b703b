"""Estimate what adopting environments would free, for `pipm list DIR` and the report."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.adopt.adopt_preview import Preview
from pipm.errors import PipmError
from pipm.fs.home import is_own
from pipm.share.adoption import AdoptOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.inspect.environment_usage import EnvironmentUsage


def with_estimates(
    store_path: str, found: Sequence[EnvironmentUsage], progress: Progress
) -> list[EnvironmentUsage]:
    """Add to each environment of *found* that could share more an estimate of what adopting it would free.

    Each estimate assumes that the earlier ones are adopted.
    """
    if not any(map(_may_share_more, found)):
        return list(found)
    preview = Preview(store_path, AdoptOptions())  # slow: it lists the folders of objects
    progress.phase("Estimating what adopting frees", len(found))
    estimated = []
    for number, one in enumerate(found):
        progress.advance(number, 0)
        estimated.append(_estimated(one, preview) if _may_share_more(one) else one)
    return estimated


def _may_share_more(one: EnvironmentUsage) -> bool:
    """Return whether adopting may free something; another user's environment cannot be adopted."""
    has_grown = one.state == "adopted" and one.distributions > len(one.entries)
    return (one.state == "own copy" or has_grown) and is_own(one.path)


def _estimated(one: EnvironmentUsage, preview: Preview) -> EnvironmentUsage:
    """Add what adopting would free; skip an adopted environment without new files."""
    freed, shared = 0, 0
    with contextlib.suppress(PipmError):  # in this state it cannot be adopted
        adoption = preview.adoption(one.path)
        freed, shared = adoption.bytes_freed, adoption.files_shared
    if one.state == "adopted":
        if not shared:
            return one
        one = replace(one, note=one.note or f"files that came since it was adopted: {shared}")
    return replace(one, adoptable=min(freed, one.usage.exclusive))
