"""Explaining pip's errors in one line; its output becomes the details."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from pipm.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.core.pins import Pin

_NORMALISE = re.compile(r"[-_.]+")
_SHOWN_LINES = 2
_LONGEST = 300
_NEAREST = 2
_DETAILS = "-v shows pip's output"


class UnreachableError(FetchError):
    """No server answered, or it has no such project; pip does not say which."""


_WRONG_HASHES = "DO NOT MATCH THE HASHES"
_GOT = re.compile(r"^\s+Got\s+([0-9a-f]+)$", re.MULTILINE)
_MISSING = re.compile(
    r"find a version that satisfies the requirement (?P<name>[\w.-]+)[^(]*"
    r"\(from versions: (?P<versions>[^)]*)\)"
)
_NONE = re.compile(r"No matching distribution found for (?P<name>[\w.-]+)")
_FULL = "No space left on device"
_BUILDING = re.compile(r"Failed (?:to build|building)|\[end of output]")
_LAST_WORD = re.compile(r"(?P<word>\S.*)\n\s*\[end of output]")
"""The last line of a build backend's output, usually its exception."""

_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Connection (?:refused|broken|aborted)|"
    r"Max retries|IncompleteRead|HTTP error|ProxyError|SSLError",
)


def explained(pins: Sequence[Pin], output: str, *, index: str, python: str) -> FetchError:
    """Return the error for *pins* from pip's *output*; *index* and the version *python* are for messages."""
    if _WRONG_HASHES in output:
        return _other_hashes(pins, output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if not errors or errors == ["Exception:"]:  # a traceback of pip: its last line is the error
        errors = lines[-1:]
    names = _named(pins, "\n".join(line for line in lines if not line.startswith(("Collecting", "Saved"))))
    shown = _listed(names)
    tail = "; ".join(_clipped(error) for error in errors[:_SHOWN_LINES])
    if _FULL in output:
        hint = "free some space, then run the same command again"
        return FetchError(f"{shown} does not fit on the disk: {tail}", hint=hint, details=output)
    if _NETWORK.search(output):
        return UnreachableError(
            f"Cannot fetch {shown}: {tail}",
            hint="check that the index is reachable; fetched wheels are kept; run the same command again",
            details=output,
        )
    missing = _MISSING.search(output) or _NONE.search(output)
    if missing is not None:
        return _not_there(pins, missing, output, index=index, python=python)
    if _BUILDING.search(output):
        last = _LAST_WORD.search(output)
        why = tail if last is None else _clipped(last["word"])
        return FetchError(f"{shown} cannot be built: {why}", hint=_DETAILS, details=output)
    return FetchError(
        f"pip cannot provide {shown}: {tail}",
        hint=f"{_DETAILS}, `pip config list` shows its settings",
        details=output,
    )


def nearest(wanted: str, versions: Sequence[str]) -> list[str]:
    """Return the *versions* just below and just above *wanted*, in order."""
    known: dict[Version, str] = {}
    for text in versions:
        try:
            known[Version(text)] = text
        except ValueError:
            continue
    try:
        middle = Version(wanted)
    except ValueError:
        return [known[version] for version in sorted(known)[-_NEAREST:]]
    below = [version for version in sorted(known) if version < middle]
    above = [version for version in sorted(known) if version > middle]
    return [known[version] for version in (*below[-_NEAREST:], *above[:_NEAREST])]


def _not_there(
    pins: Sequence[Pin], missing: re.Match[str], output: str, *, index: str, python: str
) -> FetchError:
    name = _NORMALISE.sub("-", missing["name"]).lower()
    version = next((pin.version for pin in pins if pin.name == name), None)
    found = missing.groupdict().get("versions") or "none"
    near = [] if found == "none" else nearest(version or "", found.split(", "))
    if near:
        hint = f"the nearest versions there are {', '.join(near)}; {_DETAILS}"
    else:
        hint = (
            "the index has no compatible version: check the name, the index, and your login"
            f" (netrc, keyring, PIP_INDEX_URL); {_DETAILS}"
        )
    kind = FetchError if near else UnreachableError
    shown = f"{name} {version}" if version else name
    return kind(f"{shown} is not on {index}, or not for Python {python}", hint=hint, details=output)


def _other_hashes(pins: Sequence[Pin], output: str) -> FetchError:
    """Return the error for archives that pip lists with other hashes than the lock's."""
    text = output.partition(_WRONG_HASHES)[2]
    names, got = _named(pins, text), _GOT.findall(text)
    text = "is not the file in the lock: its hash is"
    if len(names) > 1:
        text = "are not the files in the lock: their hashes are"
    return FetchError(
        f"{_listed(names)} {text} {_listed(got)}",
        hint="lock again if the project published other files; otherwise do not trust this index",
        details=output,
    )


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _named(pins: Sequence[Pin], text: str) -> list[str]:
    """Return the *pins* that *text* names, with versions; all if it names none."""
    said = _NORMALISE.sub("-", text).lower()
    shown = {pin.name: f"{pin.name} {pin.version}" if pin.version else pin.name for pin in pins}
    if len(shown) == 1:
        return list(shown.values())
    found = [text for name, text in shown.items() if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w])", said)]
    return found or list(shown.values())
