"""What an adoption is asked to do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipm.context.statistics import SkippedFile, Statistics
    from pipm.env.environment import Environment
    from pipm.fs.link_modes import LinkMode


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptOptions:
    """How to adopt; no *link_mode* means the ladder, *compile_missing* adds bytecode that was not there.

    *dist_info*: whether a finder environment has metadata folders; None leaves that as it is.
    """

    link_mode: LinkMode | None = None
    compile_missing: bool = False
    dist_info: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """What an adoption did, or (dry run) would do. Sizes in bytes, ``seconds`` of wall time.

    ``files_new`` of the shared files were new to the store. ``bytes_freed`` is the balance for the file
    system: what came free less what the store took; ``at_most`` says that compression makes it fewer.
    """

    path: str
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
        """The files that a person should hear of."""
        return tuple(left for left in self.left if not left.reason.expected)


def adoption_of(
    environment: Environment, link_mode: str, distributions: int, statistics: Statistics, seconds: float
) -> Adoption:
    """Sum up what a *statistics* says."""
    return Adoption(
        path=environment.path,
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
