"""Locking an environment of the cache while it is used, so that gc keeps it.

Each `pipm run` imports this, so it must not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import errno
import fcntl
import os


def mark_in_use(marker: str, *, onwards: bool = False) -> int | None:
    """Lock the file *marker* until this process ends, and return it open; None if it is gone.

    With *onwards*, the lock stays after exec. The modification time of the file is the time of the last use.
    """
    try:
        # NFS wants a writable descriptor (see `fs.lock`).
        file = os.open(marker, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:  # a read-only cache, which gc does not change
        return os.open(marker, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # gc is removing it
            os.close(file)
            return None
    if not os.fstat(file).st_nlink:
        os.close(file)
        return None
    os.utime(file)
    os.set_inheritable(file, onwards)
    return file


def is_in_use(marker: str) -> bool:
    """Return whether a process holds the file *marker*."""
    try:
        file = os.open(marker, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
