"""Reading a lock of any format."""

from __future__ import annotations

import os
import re

from pipm.core.selection import Selection
from pipm.errors import LockError
from pipm.lockfile.find_lock import ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.lockfile.checked_table import LockTable

    Reader = Callable[[str, Target, Selection], list[tuple[Pin, LockTable]]]

_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
_ALL = Selection()


def read_lock(path: str, target: Target, selection: Selection = _ALL) -> tuple[Pin, ...]:
    """Return the pins of the lock at *path* for *target*, sorted by name.

    Raises LockError with the place in the file if the lock is invalid, has an unknown format or version, or
    does not fit the target: wrong Python, no file for its platform, an unknown extra or group, two versions
    of one distribution.
    """
    from pipm.lockfile.target_match import once  # noqa: PLC0415 - markers and tags, 20 ms: finding a lock needs none

    if (selection.packages or selection.all_packages) and os.path.basename(path) != "uv.lock":
        raise LockError(f"{path} has no members of a workspace", hint="--package is only for uv.lock")
    try:
        return once(_reader(path)(path, target, selection))
    except (ValueError, RecursionError) as error:  # raised by packaging for numbers of 5 000 digits
        raise LockError(f"{path} has a value that cannot be read: {error}", hint="lock again") from error


def _reader(path: str) -> Reader:
    """Return the reader for the file's name; it is imported only then (packaging.pylock takes 15 ms)."""
    name = os.path.basename(path)
    if _PYLOCK.fullmatch(name):
        from pipm.lockfile.pylock import read_pylock  # noqa: PLC0415

        return read_pylock
    if name == "poetry.lock":
        from pipm.lockfile.poetry import read_poetry  # noqa: PLC0415

        return read_poetry
    if name == "uv.lock" or name.endswith(".py.lock"):
        from pipm.lockfile.uv_lock import read_uv  # noqa: PLC0415

        return read_uv
    if re.fullmatch(r"pdm(\..+)?\.lock", name):
        from pipm.lockfile.pdm import read_pdm  # noqa: PLC0415

        return read_pdm
    if name == "Pipfile.lock":
        from pipm.lockfile.pipfile import read_pipfile  # noqa: PLC0415

        return read_pipfile
    if name.endswith((".txt", ".in")):
        from pipm.lockfile.requirements import read_requirements  # noqa: PLC0415

        return read_requirements
    raise LockError(
        f"{path} is not a lock file that pipm knows",
        hint=f"it reads {', '.join(ORDER)}, pylock.NAME.toml and *.txt",
    )
