"""Small files that may be lost: the user's cache folder (XDG base directories)."""

from __future__ import annotations

import contextlib
import os
import sys

from dedupe.fs.sync import Durability, write_durably


def cache_folder() -> str:
    """Where pipm keeps what it can find out again: ``$XDG_CACHE_HOME/pipm``."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/pipm")
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pipm")


def read_cache(name: str) -> bytes | None:
    """Return what was kept under *name*, if it is still there, and ours."""
    try:
        file = os.open(f"{cache_folder()}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(file, "rb") as stream:
            if os.fstat(file).st_uid != os.geteuid():
                return None
            return stream.read()
    except OSError:
        return None


def write_cache(name: str, data: bytes) -> None:
    """Keep *data* under *name*; a read-only or full disk is no reason to fail."""
    with contextlib.suppress(OSError):
        os.makedirs(cache_folder(), mode=0o700, exist_ok=True)
        folder = os.open(cache_folder(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            write_durably(folder, name, data, Durability.LATER)
        finally:
            os.close(folder)
