"""The lock that a sync goes by, and the digest of all that decides what it asks for."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

from dedupe.errors import LockError
from dedupe.lock.read import find_lock, read_lock
from dedupe.ops.synced import Lock

if TYPE_CHECKING:
    from dedupe.core.pins import Selection

_FORMAT = 1
"""Of what pipm makes of a lock: another number, and every environment is looked at anew."""


def open_lock(path: str | None, selection: Selection, options: str) -> Lock:
    """Find the lock at *path* (or the nearest one upward) and take its digest; LockError where there is none.

    *options* is what else decides which files an environment gets.
    """
    found = find_lock(os.getcwd()) if path is None else os.path.realpath(path)
    if found is None:
        raise LockError(
            "There is no lock file here or in any folder above",
            hint="name it: pipm sync LOCK; `uv lock`, `poetry lock`, `pip lock` and others make one",
        )
    state = hashlib.sha256(f"{_FORMAT} {sys.version} {found} {selection} {options}".encode())
    # Poetry and PDM keep groups, extras and sources beside the lock.
    for file in (found, os.path.join(os.path.dirname(found), "pyproject.toml")):
        state.update(_content(file, must=file == found))
    return Lock(
        path=found,
        promise=state.hexdigest(),
        pins=lambda target: read_lock(found, target, selection),
    )


def _content(path: str, *, must: bool) -> bytes:
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).digest()
    except OSError as error:
        if must:
            raise LockError(f"Cannot read {path}: {error.strerror}", hint="name a lock file") from error
        return b""
