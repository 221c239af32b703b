"""Inline metadata of a script (PEP 723): a TOML document in comments with the script's requirements.

Each `pipm run` imports this module: it must not import modules that take milliseconds (dataclasses, typing,
re).
"""

from __future__ import annotations

import os

from pipm.errors import LockError

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENS = b"# /// script"
_CLOSES = b"# ///"
_EXAMPLE = 'an example: # dependencies = ["rich>=13"] between "# /// script" and "# ///"'


def script_block(path: str) -> bytes | None:
    """Return the document in the script at *path*, or None; raise LockError if it has two."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise LockError(f"Cannot read {path}: {error.strerror}", hint="name a script") from error
    if _OPENS not in data:
        return None
    found = [text for kind, text in _blocks(data.replace(b"\r\n", b"\n").split(b"\n")) if kind == b"script"]
    if len(found) > 1:
        raise LockError(f"{path} has {len(found)} blocks of script metadata", hint="PEP 723 allows one")
    return found[0] if found else None


def _blocks(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and text of each block, from its first line to the last line that can close it.

    This follows the regular expression in PEP 723: a block that is not closed is ignored.
    """
    at = 0
    while at < len(lines):
        start, kind = at, lines[at].removeprefix(_CLOSES + b" ")
        at += 1
        if kind == lines[start] or not kind.replace(b"-", b"").isalnum():
            continue
        end = at
        while end < len(lines) and (lines[end] == b"#" or lines[end].startswith(b"# ")):
            end += 1
        closing = [number for number in range(at + 1, end) if lines[number] == _CLOSES]
        if closing:
            yield kind, b"\n".join(line[2:] for line in lines[at : closing[-1]])
            at = closing[-1] + 1


def script_lock(path: str) -> str | None:
    """Return the script's own lock: uv's ``x.py.lock``, or ``pylock.x.toml``; None if there is none."""
    folder, name = os.path.split(os.path.realpath(path))
    for candidate in (f"{name}.lock", f"pylock.{name.removesuffix('.py')}.toml"):
        found = os.path.join(folder, candidate)
        if os.path.isfile(found):
            return found
    return None


def script_needs(path: str, block: bytes) -> tuple[tuple[str, ...], str]:
    """Return the requirements in *block* of the script at *path*, and its ``requires-python`` (or "").

    Raises LockError if the document is invalid.
    """
    from packaging.requirements import Requirement  # noqa: PLC0415 - see above
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415

    from pipm.lockfile.checked_table import parse_toml  # noqa: PLC0415

    table = parse_toml(block.decode("utf-8", "replace"), path, hint=_EXAMPLE)
    try:
        needs, requires = table.texts("dependencies"), table.text("requires-python") or ""
    except LockError as error:
        raise LockError(error.message, hint=_EXAMPLE) from None
    for number, need in enumerate(needs):
        try:
            Requirement(need)
        except ValueError as error:
            first = str(error).splitlines()[0]
            text = f"dependencies[{number}] {need!r} is not a valid requirement: {first}"
            raise table.error(text, hint=_EXAMPLE) from None
    try:
        SpecifierSet(requires)
    except ValueError:
        text = f"requires-python {requires!r} is not a valid range of versions"
        raise table.error(text, hint='an example: requires-python = ">=3.11"') from None
    return tuple(needs), requires
