"""Deciding what a sync adds, replaces and removes."""

from __future__ import annotations

from enum import Enum

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.core.plan.materialise_plan import Wanted

_SEEDS = frozenset({"pip", "uv"})
_OLD_SEEDS = frozenset({"setuptools", "wheel"})
_NO_OLD_SEEDS = (3, 12)


class InstalledMatch(Enum):
    """The result of comparing an installed distribution with the wanted one of its name."""

    SAME = "the same files, all there"
    BROKEN = "the same, but something is missing or has another size"
    OTHER = "another version or build"


class Installed(NamedTuple):
    """An installed distribution: its metadata folder ``metadata`` lies in ``site``.

    ``removable``: it has a RECORD, which names its files.
    """

    name: str
    version: str
    site: str
    metadata: str
    removable: bool


class SyncPlan(NamedTuple):
    """The changes of a sync. ``stuck`` cannot be removed, because they have no RECORD."""

    added: tuple[Wanted, ...] = ()
    repaired: tuple[Wanted, ...] = ()
    replaced: tuple[tuple[Installed, Wanted], ...] = ()
    removed: tuple[Installed, ...] = ()
    stuck: tuple[Installed, ...] = ()
    unchanged: int = 0

    @property
    def materialised(self) -> list[Wanted]:
        """The distributions that get files."""
        return [*self.added, *self.repaired, *(wanted for _, wanted in self.replaced)]

    @property
    def uninstalled(self) -> list[Installed]:
        """The distributions whose files are removed."""
        return [*self.removed, *(installed for installed, _ in self.replaced)]


def plan_sync(
    wanted: list[Wanted],
    installed: list[tuple[Installed, InstalledMatch]],
    kept: frozenset[str],
) -> SyncPlan:
    """Compare *wanted* with *installed*; the names *kept* stay although no lock names them.

    Of a name that is installed twice (after an interrupted upgrade of another tool) only a fitting one stays.
    """
    by_name = {one.name: one for one in wanted}
    there: dict[str, InstalledMatch] = {}
    removed, stuck, replaced = [], [], []
    for one, fit in sorted(installed, key=lambda row: list(InstalledMatch).index(row[1])):
        if one.name in by_name and fit is not InstalledMatch.OTHER and one.name not in there:
            there[one.name] = fit
        elif one.name not in by_name and one.name in kept:
            continue
        elif not one.removable:
            stuck.append(one)
        elif one.name in by_name and one.name not in there:
            there[one.name] = InstalledMatch.OTHER
            replaced.append((one, by_name[one.name]))
        else:
            removed.append(one)
    return SyncPlan(
        added=tuple(one for one in wanted if one.name not in there),
        repaired=tuple(one for one in wanted if there.get(one.name) is InstalledMatch.BROKEN),
        replaced=tuple(replaced),
        removed=tuple(removed),
        stuck=tuple(stuck),
        unchanged=sum(there.get(one.name) is InstalledMatch.SAME for one in wanted),
    )


def seeds(version: tuple[int, ...], *, uv_without_seed: bool) -> frozenset[str]:
    """Return the installers that stay in an environment of Python *version* unless a lock names them.

    As `uv pip sync`: in an environment that `uv venv` made without ``--seed`` none was there to begin with.
    """
    if uv_without_seed:
        return frozenset()
    return _SEEDS if version >= _NO_OLD_SEEDS else _SEEDS | _OLD_SEEDS
