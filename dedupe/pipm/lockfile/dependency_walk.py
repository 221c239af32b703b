"""Walking the dependencies in a lock without groups and markers; it may have several versions of a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.lockfile.checked_table import LockTable

_ROUNDS = 20
"""Maximum walks until the chosen packages meet all constraints; two or three are usual."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A dependency that applies to the target; ``table`` is its place in the file."""

    name: str
    extras: frozenset[str]
    constraint: str
    table: LockTable


@dataclass(kw_only=True)
class _Round:
    chosen: dict[str, LockTable] = field(default_factory=dict)
    constraints: dict[str, set[str]] = field(default_factory=dict)


def reachable_packages(
    roots: list[Need],
    choose: Callable[[Need, set[str]], LockTable],
    needs: Callable[[LockTable, frozenset[str]], Iterable[Need]],
) -> list[LockTable] | None:
    """Return the packages that *roots* need, directly or not; None if the lock contradicts itself.

    *choose* gets a need and all constraints on that name from the walk before; the walk is repeated until
    these do not change. *needs* returns the dependencies of a package with some of its extras.
    """
    known: dict[str, set[str]] = {}
    for _ in range(_ROUNDS):
        found = _walked(roots, choose, needs, known)
        if found.constraints == known:
            return list(found.chosen.values())
        known = found.constraints
    return None


def _walked(
    roots: list[Need],
    choose: Callable[[Need, set[str]], LockTable],
    needs: Callable[[LockTable, frozenset[str]], Iterable[Need]],
    known: dict[str, set[str]],
) -> _Round:
    found = _Round()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(roots)
    while queue:
        need = queue.pop()
        found.constraints.setdefault(need.name, set()).add(need.constraint)
        if (need.name, need.extras) in seen:
            continue
        seen.add((need.name, need.extras))
        package = found.chosen.get(need.name)
        if package is None:
            package = choose(need, known.get(need.name, set()) | {need.constraint})
            found.chosen[need.name] = package
        queue += needs(package, need.extras)
    return found
