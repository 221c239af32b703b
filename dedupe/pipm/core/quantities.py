"""Ages and sizes as users write them: ``14d``, ``12h``, ``5G``, ``1.5 GiB``."""

from __future__ import annotations

import re

from pipm.errors import UsageError

_SECONDS = {"s": 1, "h": 3600, "d": 86400, "w": 7 * 86400}
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([shdw])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)


def parse_age(text: str) -> float:
    """Parse an age and return seconds; raise UsageError for other text."""
    if text == "0":
        return 0.0
    found = _AGE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a valid age", hint="write 0, 12h, 30d or 2w")
    return float(found[1]) * _SECONDS[found[2]]


def parse_size(text: str) -> int:
    """Parse a size with binary units and return bytes; raise UsageError for other text."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a valid size", hint="write 500M, 5G or 1.5T")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].upper()])
