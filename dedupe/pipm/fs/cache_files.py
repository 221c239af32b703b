"""Small files in the user's cache folder (XDG base directories), which may be lost."""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import struct
import sys
import time
import zlib
from typing import Any

from pipm.core.sha256 import sha256
from pipm.fs.durability import Durability, write_durably
from pipm.fs.home import cache_home
from pipm.fs.leftovers import remove_torn_writes
from pipm.fs.opened import opened_folder
from pipm.fs.trust import is_foreign

_DIGEST = 32
_LONG = 60.0
"""Seconds after which an unfinished write is abandoned."""
_CHECK = struct.Struct("<I")


def user_cache_folder() -> str:
    """Return the cache folder: ``$XDG_CACHE_HOME/pipm``."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/pipm")
    return os.path.join(cache_home(), "pipm")


def read_cache(name: str) -> bytes | None:
    """Return the data cached as *name*, if it exists and no other user can change it."""
    try:
        file = os.open(
            f"{user_cache_folder()}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
        with open(file, "rb") as stream:
            status = os.fstat(file)
            if status.st_uid != os.geteuid() or is_foreign(status) or not stat.S_ISREG(status.st_mode):
                return None
            return stream.read()
    except OSError:
        return None


def write_cache(name: str, data: bytes) -> None:
    """Cache *data* as *name*; errors are ignored."""
    with contextlib.suppress(OSError):
        os.makedirs(user_cache_folder(), mode=0o700, exist_ok=True)
        with opened_folder(user_cache_folder()) as folder:
            remove_torn_writes(folder, ("",), before=time.time() - _LONG)
            write_durably(folder, name, data, Durability.LATER)


def read_value(kind: str, state: str) -> Any:  # noqa: ANN401 - any value that marshal knows
    """Return the value that `write_value` cached for *kind* and *state*, or None."""
    key = _key(state)
    kept = memoryview(read_cache(_place(kind, key)) or b"")
    check, data = kept[_DIGEST : _DIGEST + _CHECK.size], kept[_DIGEST + _CHECK.size :]
    if kept[:_DIGEST] != key or check != _CHECK.pack(zlib.crc32(data)):
        return None
    return marshal.loads(data)  # noqa: S302 - pipm wrote it: owner, key and checksum are right


def write_value(kind: str, state: str, value: Any) -> None:  # noqa: ANN401 - likewise
    """Cache *value* for *kind* and *state*, in one of 256 files; the digest of *state* chooses it."""
    key, data = _key(state), marshal.dumps(value)
    write_cache(_place(kind, key), key + _CHECK.pack(zlib.crc32(data)) + data)


def _key(state: str) -> bytes:
    return sha256(state.encode("utf-8", "surrogateescape")).digest()


def _place(kind: str, key: bytes) -> str:
    return f"{kind}-{key[:1].hex()}"
