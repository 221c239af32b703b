"""The lock of a sync, and the digest of everything that decides its result."""

from __future__ import annotations

import os
import sys

from pipm.core.sha256 import sha256
from pipm.env.permission import check_found
from pipm.errors import LockError
from pipm.lockfile.find_lock import find_lock, lock_content, member_here, read_whole
from pipm.sync.sync_values import Lock, LockStamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.core.pins import Pin
    from pipm.core.selection import Selection
    from pipm.core.target import Target

__all__ = ["member_here", "open_lock"]

_FORMAT = 2
"""Changes when pipm interprets locks differently: then each environment is compared again."""


def open_lock(path: str | None, selection: Selection, words: Sequence[str] = ()) -> Lock:
    """Return the lock at *path* (or the nearest one in this folder or above) with its digest.

    *words* are the options of a sync that decide which files an environment gets. Raises LockError if there
    is no lock.
    """
    found = find_lock(os.getcwd()) if path is None else os.path.realpath(path)
    if found is None:
        raise LockError(
            "There is no lock file here or in any folder above",
            hint="name it: pipm sync LOCK; `uv lock`, `poetry lock`, `pip lock` and others make one",
        )
    if path is None:
        check_found(found)
    # The status is from before the lock is read, so that the next check detects any change.
    data, status = read_whole(found)
    digest = sha256(data)
    stamp = LockStamp(status.st_mtime_ns, status.st_size, digest.hexdigest())
    content = lock_content(found, (data, digest.digest()))
    decisive = f"{_FORMAT} {sys.version} {found} {selection} {' '.join(words)} {content}"
    fingerprint = sha256(decisive.encode()).hexdigest()

    def pins(target: Target) -> Sequence[Pin]:
        from pipm.lockfile.read_lock import read_lock  # noqa: PLC0415 - a sync with nothing to do reads no lock
        from pipm.sync.pins_cache import cached_pins  # noqa: PLC0415 - likewise

        def read() -> Sequence[Pin]:
            return read_lock(found, target, selection)

        # Requirements are parsed fast, and expanded variables may be passwords, so they are not cached.
        folder, name = os.path.split(found)
        plain = found.endswith((".txt", ".in"))
        decided = f"{_FORMAT} {name} {selection} {content}"
        return read() if plain else cached_pins(decided, folder, target, read)

    return Lock(
        path=found,
        fingerprint=fingerprint,
        pins=pins,
        content=content,
        words=tuple(words),
        stamp=stamp,
    )
