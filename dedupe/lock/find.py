"""Finding the lock that belongs to a folder, and what it says as one digest.

A warm `pipm run` imports this: nothing here may import what takes milliseconds (dataclasses, typing, re).
"""

from __future__ import annotations

import os

from dedupe.core.sha256 import sha256
from dedupe.errors import LockError

ORDER = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt")
"""Of several in one folder: the standard's, then those that pin every platform, requirements.txt last."""


def find_lock(folder: str) -> str | None:
    """Find the lock nearest to *folder*, there or above it; None when there is none up to the root.

    Of several in one folder the standard's wins, then those that pin every platform, requirements.txt
    last. ``pylock.NAME.toml`` is for a purpose that only its user knows, and has to be named.
    """
    here = os.path.realpath(folder)
    while True:
        for name in ORDER:
            if os.path.isfile(f"{here}/{name}"):
                return os.path.join(here, name)
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above


def lock_content(path: str) -> str:
    """Digest the lock at *path*, and what Poetry and PDM keep beside it: groups, extras, sources.

    Raises LockError where there is no lock that can be read.
    """
    try:
        with open(path, "rb") as stream:
            state = sha256(sha256(stream.read()).digest())
    except OSError as error:
        raise LockError(f"Cannot read {path}: {error.strerror}", hint="name a lock file") from error
    try:
        with open(os.path.join(os.path.dirname(path), "pyproject.toml"), "rb") as stream:
            state.update(sha256(stream.read()).digest())
    except OSError:
        pass  # most formats do without
    return state.hexdigest()
