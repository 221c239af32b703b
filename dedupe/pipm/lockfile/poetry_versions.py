"""Poetry's version constraints: PEP 440 with ``^1.2``, ``~1.2`` and ``||``."""

from __future__ import annotations

import re
from functools import cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

_PART = re.compile(r"\s*(?P<op>\^|~=|~|===|==|!=|<=|>=|<|>|=)?\s*(?P<version>[^\s,|^~=!<>]+)\s*,?")


def allows(constraint: str, version: str) -> bool:
    """Return True if *constraint* allows *version*, also a pre-release; raise ValueError if it is invalid."""
    return any(choice.contains(version, prereleases=True) for choice in _parsed(constraint))


@cache
def _parsed(constraint: str) -> tuple[SpecifierSet, ...]:
    """Parse a union (``||``) of ranges."""
    try:
        return tuple(_range(part) for part in re.split(r"\s*\|\|?\s*", constraint.strip()))
    except ValueError as error:
        raise ValueError(f"{constraint!r} is not a valid version constraint: {error}") from None


def _range(text: str) -> SpecifierSet:
    if text in ("", "*"):
        return SpecifierSet()
    found = []
    end = 0
    for match in _PART.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        found.append(_specifier(match["op"] or "==", match["version"]))
    if end != len(text):
        raise InvalidSpecifier(text)
    return SpecifierSet(",".join(filter(None, found)))


def _specifier(operator: str, version: str) -> str:
    if version == "*":
        return ""
    if operator == "=":
        operator = "=="
    if operator not in ("^", "~"):
        return f"{operator}{version}"
    return f">={version},<{_next(operator, Version(version).release)}"


def _next(operator: str, release: tuple[int, ...]) -> str:
    """Return the exclusive upper limit.

    ``^0.2.3`` keeps the numbers up to the first that is not 0, ``~1.2.3`` keeps two numbers.
    """
    if operator == "~":
        place = min(len(release), 2) - 1
    else:
        place = next((i for i, number in enumerate(release) if number), len(release) - 1)
    kept = release[: place + 1]
    return ".".join(map(str, (*kept[:-1], kept[-1] + 1)))
