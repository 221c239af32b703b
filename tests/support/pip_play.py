"""Running `support.pip_cases` with and without the wrapper."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.snapshot import difference, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.pip_cases import Case
    from support.pips import Outcome, Twins

_RANDOM = re.compile(r"(pip-[a-z-]+|tmp)[a-z0-9_]{8}\b|\b\d+(\.\d+)? [kM]?B(/s)?|0:00:\d\d")
"""Names of temporary folders and speeds, which differ from run to run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """One case played once: what pip gave at each command."""

    outcomes: tuple[Outcome, ...]

    def differences(self, plain: Played) -> list[str]:
        """Tell what differs from the other in words."""
        found = []
        for number, (ours, theirs) in enumerate(zip(self.outcomes, plain.outcomes, strict=True), 1):
            here = f"command {number}: "
            for what in ("code", "out", "err"):
                one, other = (_RANDOM.sub("…", str(getattr(o, what))) for o in (ours, theirs))
                if one != other:
                    found.append(f"{here}{what} {one!r}, plain {other!r}")
            found += [here + line for line in difference(ours.tree, theirs.tree)]
            found += [f"{here}bytecode {name}" for name in sorted(ours.compiled ^ theirs.compiled)]
        return found


def play(case: Case, identical: Twins, wheels: str, *, promised: bool = True) -> list[str]:
    """Play a case while the store learns, by plain pip, and when the store knows; returns what is wrong.

    The environments are afterwards as they were. Unless it is *promised* nobody asks for what the case says.
    """
    os.makedirs(wheels)
    case.build(wheels)
    before = frozenset(snapshot(identical.environment.path))
    learning = _play(case, identical.wrapped, identical.environment.path, wheels)
    found = _expectations(case, identical, learning) if promised else []
    _clear(identical.environment.path, before)
    plain = _play(case, identical.plain, identical.environment.path, wheels)
    _clear(f"{identical.environment.path}.plain", before)
    knowing = learning
    if any(code == 0 for code, _ in case.commands):
        knowing = _play(case, identical.wrapped, identical.environment.path, wheels)
        _clear(identical.environment.path, before)
    for word, played in (("the store learns", learning), ("the store knows", knowing)):
        found += [f"{word}: {line}" for line in played.differences(plain)]
    return found


def _play(case: Case, run: Callable[..., Outcome], path: str, wheels: str) -> Played:
    place = f"{path}/place"
    outcomes = []
    for _, arguments in case.commands:
        outcomes.append(run(*(word.format(wheels=wheels, place=place) for word in arguments)))
    return Played(outcomes=tuple(outcomes))


def _expectations(case: Case, identical: Twins, played: Played) -> list[str]:
    """Compare the wrapped run with the expectations of the case."""
    environment = identical.environment
    found = [
        f"pip {' '.join(arguments)}: exit code {outcome.code}, not {code}: {outcome.err}"
        for (code, arguments), outcome in zip(case.commands, played.outcomes, strict=True)
        if outcome.code != code
    ]
    for name in (*case.there, *case.absent):
        path = os.path.join(environment.path, name.format(site=environment.site))
        if os.path.lexists(path) != (name in case.there):
            found.append(f"{name} is {'missing' if name in case.there else 'there'}")
    return found


def _clear(path: str, before: frozenset[str]) -> None:
    """Remove what a case left."""
    for name in sorted(snapshot(path).keys() - before, reverse=True):
        whole = os.path.join(path, name)
        if os.path.isdir(whole) and not os.path.islink(whole):
            os.rmdir(whole)
        else:
            os.unlink(whole)
