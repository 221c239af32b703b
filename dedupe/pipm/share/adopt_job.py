"""One environment of a run that adopts several, and the order of work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.context.statistics import SkippedFile
from pipm.core.reasons import Reason
from pipm.fs.link_modes import LinkMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.statistics import Statistics
    from pipm.core.originals import Originals
    from pipm.env.installed import InstalledDistribution
    from pipm.share.adoption import Unchanged
    from pipm.share.prepare_adopt import LockedEnvironment


@dataclass(kw_only=True, slots=True)
class AdoptJob:
    """An environment, the *path* by which the user named it, and its results so far.

    ``left`` are the distributions still to be adopted, out of ``count``. ``mode`` is set when the link mode
    is chosen, or taken from an earlier run. ``originals`` has the modes and times of files that `make_room`
    replaced by links before the run.
    """

    path: str
    locked: LockedEnvironment
    statistics: Statistics
    count: int
    left: list[InstalledDistribution]
    mode: LinkMode | None = None
    originals: Originals = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)

    @property
    def earlier_mode(self) -> LinkMode | None:
        """The link mode of an earlier run; None if there was none."""
        previous = self.locked.previous
        known = previous is not None and previous.link_mode in {mode.value for mode in LinkMode}
        return LinkMode(previous.link_mode) if previous is not None and known else None

    def take(self, unchanged: Unchanged) -> None:
        """Take the result of an earlier run for this one's."""
        statistics = self.statistics
        self.mode, self.count = self.earlier_mode, unchanged.distributions
        statistics.files, statistics.already = unchanged.files, unchanged.already
        statistics.bytes_shared = unchanged.bytes_shared
        statistics.left = [SkippedFile(path, Reason[reason]) for path, reason in unchanged.left]
        self.entries.update(unchanged.entries)


def lines(jobs: Iterable[AdoptJob]) -> int:
    """Return the approximate number of files that are still to be adopted."""
    return sum(distribution.lines for job in jobs for distribution in job.left)


_TOGETHER = 16
"""Maximum environments in which a release is adopted together: their files are open at the same time."""


def work_order(jobs: Sequence[AdoptJob]) -> list[list[tuple[int, int]]]:
    """Return turns of distributions in their order, as (number of the job, number in ``left``).

    One turn has a release in several environments, so that its content is read once. The largest come first,
    so that all workers end at about the same time. If a release needs more turns, these come after all
    others: two workers on the same content would wait for each other.
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
