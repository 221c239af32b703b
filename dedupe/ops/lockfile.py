"""The lock that a sync goes by, and the digest of all that decides what it asks for."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

from dedupe.errors import LockError
from dedupe.lock.find import find_lock, lock_content
from dedupe.lock.read import read_lock
from dedupe.ops.synced import Lock, Stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupe.core.pins import Selection

_FORMAT = 1
"""Of what pipm makes of a lock: another number, and every environment is looked at anew."""


def open_lock(path: str | None, selection: Selection, words: Sequence[str] = ()) -> Lock:
    """Find the lock at *path* (or the nearest one upward) and take its digest; LockError where there is none.

    *words* are the options of a sync that decide which files an environment gets.
    """
    found = find_lock(os.getcwd()) if path is None else os.path.realpath(path)
    if found is None:
        raise LockError(
            "There is no lock file here or in any folder above",
            hint="name it: pipm sync LOCK; `uv lock`, `poetry lock`, `pip lock` and others make one",
        )
    stamp = _stamp(found)
    content = lock_content(found)
    decisive = f"{_FORMAT} {sys.version} {found} {selection} {' '.join(words)} {content}"
    return Lock(
        path=found,
        promise=hashlib.sha256(decisive.encode()).hexdigest(),
        pins=lambda target: read_lock(found, target, selection),
        content=content,
        words=tuple(words),
        stamp=stamp,
    )


def _stamp(path: str) -> Stamp:
    """Look at the lock before it is read: a change meanwhile shows at the next look."""
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read()
    except OSError as error:
        raise LockError(f"Cannot read {path}: {error.strerror}", hint="name a lock file") from error
    return Stamp(status.st_mtime_ns, status.st_size, hashlib.sha256(data).hexdigest())
