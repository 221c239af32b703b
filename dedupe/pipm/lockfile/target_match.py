"""Matching with a target: markers, versions of Python, and wheels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from pipm.core.pins import Archive, Pin
    from pipm.core.target import Target
    from pipm.lockfile.checked_table import LockTable

_EXTRA_FIRST = re.compile(r"""\bextra\s*(?P<op>==|!=)\s*(?P<name>"[^"]*"|'[^']*')""")
_EXTRA_LAST = re.compile(r"""(?P<name>"[^"]*"|'[^']*')\s*(?P<op>==|!=)\s*extra\b""")
_SOURCE_ENDINGS = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar.Z", ".tar")
_NO_BUILD = (0, "")


class TargetMatch:
    """Matches markers and files with one target and one selection of extras and groups; caches results."""

    def __init__(
        self,
        target: Target,
        *,
        extras: AbstractSet[str] = frozenset(),
        groups: AbstractSet[str] = frozenset(),
    ) -> None:
        self.target = target
        python = target.python
        self.python = f"{python}local" if python.endswith("+") else python  # like packaging.markers
        self._variables: dict[str, Any] = {**target.markers, "extras": extras, "dependency_groups": groups}
        self._markers: dict[str, bool] = {}
        self._ranks = {tag: rank for rank, tag in enumerate(target.tags)}
        self._names: dict[str, int | None] = {}

    def holds(self, marker: str, table: LockTable) -> bool:
        """Return True if *marker* is true; ``extra == "x"`` is true for each selected extra.

        Raises LockError with the place *table* if the marker is invalid.
        """
        known = self._markers.get(marker)
        if known is None:
            rewritten = marker
            if "extra" in marker:
                rewritten = _EXTRA_LAST.sub(_membership, _EXTRA_FIRST.sub(_membership, marker))
            try:
                known = Marker(rewritten).evaluate(self._variables, context="lock_file")
            except (ValueError, KeyError, RecursionError) as error:
                raise table.error(f"{marker!r} is not a valid marker: {_first_line(error)}") from None
            self._markers[marker] = known
        return known

    def allows_python(self, wanted: str, table: LockTable) -> bool:
        """Return True if *wanted* (PEP 440) allows the target's Python; raise LockError if it is invalid."""
        try:
            return SpecifierSet(wanted).contains(self.python, prereleases=True)
        except ValueError:
            raise table.error(f"{wanted!r} is not a valid range of Python versions") from None

    def check_python(self, wanted: str, table: LockTable, what: str = "The lock") -> None:
        """Raise LockError if *wanted* excludes the target's Python."""
        if not self.allows_python(wanted, table):
            raise self.wrong_python(wanted, table, what)

    def wrong_python(self, wanted: str, table: LockTable, what: str = "The lock") -> Exception:
        """Return the error for a Python version that *wanted* excludes."""
        return table.error(
            f"{what} needs Python {wanted}, the environment has {self.target.python}",
            hint="create the environment with another Python, or lock again",
        )

    def rank(self, file_name: str) -> tuple[int, tuple[int, str]] | None:
        """Return the sort key of a wheel: rank of its best tag, build tag; None if no tag matches."""
        parts = file_name.removesuffix(".whl").split("-")
        build = _NO_BUILD
        if len(parts) == 6 and parts[2][:1].isdigit():  # name-version-build-python-abi-platform
            number = re.match(r"\d+", parts[2])
            build = (int(number[0]), parts[2][number.end() :]) if number else _NO_BUILD
        elif len(parts) != 5:  # not the name of a wheel, or a variant wheel
            return None
        tags = "-".join(parts[-3:])
        if tags not in self._names:
            self._names[tags] = self._best(*parts[-3:])
        best = self._names[tags]
        return None if best is None else (best, build)

    def _best(self, pythons: str, abis: str, platforms: str) -> int | None:
        ranks = (
            self._ranks.get(f"{python}-{abi}-{platform}")
            for python in pythons.split(".")
            for abi in abis.split(".")
            for platform in platforms.split(".")
        )
        return min((rank for rank in ranks if rank is not None), default=None)

    def choose(
        self, files: Iterable[tuple[str, LockTable]], make: Callable[[str, LockTable], Archive]
    ) -> tuple[tuple[Archive, ...], Archive | None]:
        """Return the compatible wheels among a distribution's *files*, the best first, and the sdist."""
        wheels: list[tuple[int, tuple[int, str], Archive]] = []
        sources: list[tuple[str, LockTable]] = []
        variants: list[tuple[str, LockTable]] = []
        for name, table in files:
            if name.endswith(".whl"):
                ranked = self.rank(name)
                if ranked is not None:
                    wheels.append((*ranked, make(name, table)))
                elif is_variant(name):
                    variants.append((name, table))
            elif name.endswith(_SOURCE_ENDINGS):
                sources.append((name, table))
        wheels.sort(key=lambda item: item[1], reverse=True)  # the highest build comes first
        wheels.sort(key=lambda item: item[0])
        if variants and not wheels and not sources:
            raise variant_error(*variants[0])
        sources.sort(key=lambda item: not item[0].endswith(".tar.gz"))
        return tuple(item[2] for item in wheels), make(*sources[0]) if sources else None

    def check_wheel(self, origin: object, table: LockTable, name: str, version: str | None) -> None:
        """Raise LockError if *origin* is a single wheel that does not match the target."""
        file_name = getattr(origin, "file_name", "")
        if is_variant(file_name):
            raise variant_error(file_name, table)
        if file_name.endswith(".whl") and self.rank(file_name) is None:
            raise self.missing(table, name, version)

    def missing(self, table: LockTable, name: str, version: str | None) -> Exception:
        """Return the error for a distribution without a compatible file."""
        platform = self.target.markers.get("platform_machine", "")
        system = self.target.markers.get("sys_platform", "")
        implementation = self.target.markers.get("platform_python_implementation", "Python")
        return table.error(
            f"{name} {version or ''}".strip()
            + f" has no wheel for {implementation} {self.target.python} on {system} {platform}, and no sdist"
        )


def is_variant(file_name: str) -> bool:
    """Return True for the name of a variant wheel (PEP 825), which has a label after the tags."""
    parts = file_name.removesuffix(".whl").split("-")
    has_build = len(parts) > 2 and parts[2][:1].isdigit()
    return file_name.endswith(".whl") and len(parts) == (7 if has_build else 6)


def variant_error(file_name: str, table: LockTable) -> Exception:
    """Return the error for a variant wheel."""
    return table.error(
        f"{file_name} is a variant wheel (PEP 825), which pip cannot choose or install yet",
        hint="lock a wheel without a variant, or the source archive",
    )


def archive_name(table: LockTable, text: str) -> str:
    """Return the file name at the end of a URL or path; raise LockError if there is none."""
    try:
        last = (urlsplit(text).path if "://" in text else text).rpartition("/")[2]
        name = unquote(last) if "://" in text else last
    except ValueError:  # urlsplit on odd brackets
        name = ""
    return checked_name(table, name, text)


def checked_name(table: LockTable, name: str, text: str = "") -> str:
    """Return *name*; raise LockError if it is not a plain file name."""
    if name in ("", ".", "..") or not name.isprintable() or "/" in name or "\\" in name:
        raise table.error(f"{text or name} has no file name")
    return name


def is_archive(name: str) -> bool:
    """Return True if *name* is the name of a wheel or a source archive."""
    return name.endswith((".whl", *_SOURCE_ENDINGS))


def once(pins: Iterable[tuple[Pin, LockTable]]) -> tuple[Pin, ...]:
    """Return the pins sorted by name; raise LockError if two have the same name."""
    found: dict[str, tuple[Pin, LockTable]] = {}
    for pin, table in pins:
        other = found.get(pin.name)
        if other is not None:
            versions = f"{other[0].version or '?'} ({other[0].where}) and {pin.version or '?'}"
            raise table.error(f"{pin.name} is selected twice, {versions}", hint="lock again")
        found[pin.name] = pin, table
    return tuple(found[name][0] for name in sorted(found))


def _membership(match: re.Match[str]) -> str:
    return f"{match['name']} {'in' if match['op'] == '==' else 'not in'} extras"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
