"""One environment of a run that adopts several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.fs.link_modes import LinkMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.statistics import Statistics
    from pipm.env.installed import InstalledDistribution
    from pipm.share.prepare_adopt import LockedEnvironment


@dataclass(kw_only=True, slots=True)
class AdoptJob:
    """An environment by the *path* that a person named, and what became of it so far.

    ``left`` are the distributions that still have to be adopted, of ``count`` in all; ``mode`` is known
    once something was tried, or believed of an earlier run.
    """

    path: str
    candidate: LockedEnvironment
    statistics: Statistics
    count: int
    left: list[InstalledDistribution]
    mode: LinkMode | None = None
    entries: set[str] = field(default_factory=set)

    @property
    def earlier_mode(self) -> LinkMode | None:
        """The link mode of an earlier run, if there was one."""
        previous = self.candidate.previous
        known = previous is not None and previous.link_mode in {mode.value for mode in LinkMode}
        return LinkMode(previous.link_mode) if previous is not None and known else None


def lines(jobs: Iterable[AdoptJob]) -> int:
    """About how many files are left to be adopted."""
    return sum(distribution.lines for job in jobs for distribution in job.left)


_TOGETHER = 16
"""Environments in which a release is adopted in one go; their files are listed and open at the same time."""


def work_order(jobs: Sequence[AdoptJob]) -> list[list[tuple[int, int]]]:
    """In which order distributions are worked on, as (number of the job, number in ``left``).

    What several environments have of one release is one turn: its content is read once. The largest come
    first: a small one at the end keeps nobody waiting. Further environments of a release come
    after all else: two workers at the same content would be in each other's way.
    """
    releases: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, job in enumerate(jobs):
        for place, distribution in enumerate(job.left):
            release = (distribution.name, distribution.version)
            releases.setdefault(release, []).append((number, place))
    order = []
    for members in releases.values():
        for start in range(0, len(members), _TOGETHER):
            turn = members[start : start + _TOGETHER]
            cost = sum(jobs[number].left[place].cost for number, place in turn)
            order.append((start, -cost, turn))
    return [turn for _, _, turn in sorted(order)]
