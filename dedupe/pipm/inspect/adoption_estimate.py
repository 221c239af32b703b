"""Estimate what adopting environments would free, for `pipm list DIR` and the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.adopt.adopt_preview import Preview
from pipm.errors import PipmError
from pipm.fs.home import is_own
from pipm.share.adoption import TOGETHER, AdoptOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.inspect.environment_usage import EnvironmentUsage
    from pipm.share.adoption import Adoption


def with_estimates(
    store_path: str, found: Sequence[EnvironmentUsage], progress: Progress
) -> list[EnvironmentUsage]:
    """Add to each environment of *found* that could share more an estimate of what adopting it would free.

    The estimates are those of `pipm adopt --dry-run`.
    """
    paths = [one.path for one in found if _may_share_more(one)]
    if not paths:
        return list(found)
    preview = Preview(store_path, AdoptOptions())  # slow: it lists the folders of objects
    progress.phase("Estimating what adopting frees", len(paths))
    outcomes: dict[str, Adoption | PipmError] = {}
    for start in range(0, len(paths), TOGETHER):
        progress.advance(start, 0)
        outcomes |= preview.together(paths[start : start + TOGETHER])
    return [_estimated(one, outcomes[one.path]) if one.path in outcomes else one for one in found]


def _may_share_more(one: EnvironmentUsage) -> bool:
    """Return whether adopting may free something; another user's environment cannot be adopted."""
    has_grown = one.state == "adopted" and one.distributions > len(one.entries)
    return (one.state == "own copy" or has_grown) and is_own(one.path)


def _estimated(one: EnvironmentUsage, outcome: Adoption | PipmError) -> EnvironmentUsage:
    """Add what adopting would free; skip an adopted environment without new files."""
    freed, shared = 0, 0
    if not isinstance(outcome, PipmError):  # else it cannot be adopted in this state
        freed, shared = outcome.bytes_freed, outcome.files_shared
    if one.state == "adopted":
        if not shared:
            return one
        one = replace(one, note=one.note or f"files that are new since it was adopted: {shared}")
    return replace(one, adoptable=freed)
