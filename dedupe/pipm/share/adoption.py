"""The options of an adoption, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.statistics import SkippedFile, Statistics
    from pipm.env.environment import Environment
    from pipm.fs.link_modes import LinkMode

TOGETHER = 12
"""The number of environments that one run adopts; it locks all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptOptions:
    """Options: *link_mode* None tries the modes in order, *compile_missing* also compiles missing bytecode.

    *again* names distributions that are shared although they were released by name. *dist_info* is True if a
    finder environment has metadata folders, False if it has none, and None for no change.
    """

    link_mode: LinkMode | None = None
    compile_missing: bool = False
    dist_info: bool | None = None
    again: tuple[str, ...] = ()


class Unchanged(NamedTuple):
    """The result of an earlier run for an environment that did not change since.

    ``left`` are path and reason of the files that stay private.
    """

    distributions: int
    files: int
    already: int
    bytes_shared: int
    left: Sequence[tuple[str, str]]
    entries: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """The result of an adoption, or of a dry run. Sizes are in bytes, ``seconds`` are wall time.

    ``files_new`` of the shared files were new to the store. ``bytes_freed`` is the freed space minus the
    space that the store needs; with ``at_most`` it is an upper limit, because of compression.
    """

    path: str
    kind: str
    python: str
    link_mode: str
    distributions: int
    files: int
    files_shared: int
    files_already_shared: int
    files_new: int
    left: tuple[SkippedFile, ...]
    bytes_shared: int
    bytes_freed: int
    seconds: float
    at_most: bool = False

    @property
    def surprises(self) -> tuple[SkippedFile, ...]:
        """The skipped files that the user should see."""
        return tuple(
            left for left in self.left if not left.reason.expected and left.reason is not Reason.MODIFIED
        )

    @property
    def edits(self) -> tuple[SkippedFile, ...]:
        """The files that were edited in this environment: it keeps its own copies."""
        return tuple(left for left in self.left if left.reason is Reason.MODIFIED)


def adoption_of(
    environment: Environment, link_mode: str, distributions: int, statistics: Statistics, seconds: float
) -> Adoption:
    """Return the adoption with the figures of *statistics*."""
    return Adoption(
        path=environment.path,
        kind=environment.kind,
        python=environment.python,
        link_mode=link_mode,
        distributions=distributions,
        files=statistics.files,
        files_shared=statistics.shared,
        files_already_shared=statistics.already,
        files_new=statistics.ingested,
        left=tuple(sorted(statistics.left, key=lambda left: left.path)),
        bytes_shared=statistics.bytes_shared,
        bytes_freed=statistics.balance,
        seconds=seconds,
        at_most=statistics.at_most,
    )
