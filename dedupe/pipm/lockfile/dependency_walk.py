"""Walking a lock that names neither groups nor markers, where a name may have several versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.lockfile.checked_table import LockTable

_ROUNDS = 20
"""Walks until the constraints on what was reached agree with what was chosen; two or three are usual."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A dependency that counts on the target; ``table`` is where it is written."""

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
    """Find the packages that *roots* need, directly or not; None where the lock contradicts itself.

    *choose* gets a need and the constraints of everybody who needs that name: those of the walk before,
    until a walk finds no others. *needs* tells what a package needs under some of its extras.
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
