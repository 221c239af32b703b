"""Deciding what makes an environment exactly what its lock says (design D9)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipm.core.plan.materialise_plan import Wanted

_SEEDS = frozenset({"pip", "uv"})
_OLD_SEEDS = frozenset({"setuptools", "wheel"})
_NO_OLD_SEEDS = (3, 12)


class Fit(Enum):
    """How an installed distribution compares with the wanted one of its name."""

    SAME = "the same files, all there"
    BROKEN = "the same, but something is missing or has another size"
    OTHER = "another version or build"


class Standing(NamedTuple):
    """A distribution that stands in an environment: its metadata folder ``metadata`` in ``site``.

    ``removable``: it has a RECORD, so one knows which files are its own.
    """

    name: str
    version: str
    site: str
    metadata: str
    removable: bool


class SyncPlan(NamedTuple):
    """What to do. ``stuck`` cannot be removed, since nobody knows their files."""

    added: tuple[Wanted, ...] = ()
    mended: tuple[Wanted, ...] = ()
    replaced: tuple[tuple[Standing, Wanted], ...] = ()
    removed: tuple[Standing, ...] = ()
    stuck: tuple[Standing, ...] = ()
    unchanged: int = 0

    @property
    def materialised(self) -> list[Wanted]:
        """What gets files."""
        return [*self.added, *self.mended, *(wanted for _, wanted in self.replaced)]

    @property
    def uninstalled(self) -> list[Standing]:
        """What loses its files."""
        return [*self.removed, *(standing for standing, _ in self.replaced)]


def plan_sync(
    wanted: list[Wanted],
    standing: list[tuple[Standing, Fit]],
    kept: frozenset[str],
) -> SyncPlan:
    """Compare what is *wanted* with what is *standing*; *kept* are names that stay though no lock names them.

    A name that stands there twice (an interrupted upgrade of another tool) is no good: all but a fitting
    one go.
    """
    by_name = {one.blueprint.name: one for one in wanted}
    there: dict[str, Fit] = {}
    removed, stuck, replaced = [], [], []
    for one, fit in sorted(standing, key=lambda row: list(Fit).index(row[1])):
        if one.name in by_name and fit is not Fit.OTHER and one.name not in there:
            there[one.name] = fit
        elif one.name not in by_name and one.name in kept:
            continue
        elif not one.removable:
            stuck.append(one)
        elif one.name in by_name and one.name not in there:
            there[one.name] = Fit.OTHER
            replaced.append((one, by_name[one.name]))
        else:
            removed.append(one)
    return SyncPlan(
        added=tuple(one for one in wanted if one.blueprint.name not in there),
        mended=tuple(one for one in wanted if there.get(one.blueprint.name) is Fit.BROKEN),
        replaced=tuple(replaced),
        removed=tuple(removed),
        stuck=tuple(stuck),
        unchanged=sum(there.get(one.blueprint.name) is Fit.SAME for one in wanted),
    )


def seeds(version: tuple[int, ...], *, uv_without_seed: bool) -> frozenset[str]:
    """The installers that stay in an environment of Python *version* unless a lock names them.

    As `uv pip sync`: in an environment that `uv venv` made without ``--seed`` none was there to begin with.
    """
    if uv_without_seed:
        return frozenset()
    return _SEEDS if version >= _NO_OLD_SEEDS else _SEEDS | _OLD_SEEDS
