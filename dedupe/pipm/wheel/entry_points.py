"""Reading the scripts in ``entry_points.txt`` like pip (`importlib.metadata`).

It is not exactly an INI file: lines before the first section are ignored (so a byte order mark hides the
first section), the last of equal names counts, and a section may be repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pipm.wheel.reserved import reserved_script

if TYPE_CHECKING:
    from typing import Literal

    ScriptSection = Literal["console", "gui"]

_SECTIONS: dict[str, ScriptSection] = {"console_scripts": "console", "gui_scripts": "gui"}
_REFERENCE = re.compile(r"(\w+(?:\.\w+)*)\s*:\s*(\w+(?:\.\w+)*)\s*(\[.*\])?")
_LONGEST_NAME = 255


class EntryPoint(NamedTuple):
    """A script with its name, and the module and attribute that it calls."""

    name: str
    module: str
    attribute: str
    section: ScriptSection


def parse_entry_points(data: bytes) -> list[EntryPoint]:
    """Return the scripts in *data*; raise ValueError with the first line that pip rejects, and the reason."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    section: str | None = None
    found: dict[str, EntryPoint] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
            continue
        if section is None:
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise ValueError(f"line {number} is not NAME = MODULE:FUNCTION: {_shown(line)}")
        if section in _SECTIONS:
            _check_name(name, number)
            match = _REFERENCE.fullmatch(value)
            if match is None:
                raise ValueError(f"line {number}: {_shown(value)} is not MODULE:FUNCTION")
            found[name] = EntryPoint(name, match[1], match[2], _SECTIONS[section])
    return list(found.values())


def _check_name(name: str, number: int) -> None:
    """Raise ValueError if *name* is not a file name, or is reserved for the environment (CVE-2026-8643)."""
    is_path = "/" in name or "\\" in name or name in ("", ".", "..")
    if is_path or not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"line {number}: {_shown(name)} cannot be the name of a script")
    why = reserved_script(name)
    if why is not None:
        raise ValueError(f"line {number}: a script named {name} {why}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
