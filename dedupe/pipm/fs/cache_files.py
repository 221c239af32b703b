"""Small files in the user's cache folder (XDG base directories), which may be lost."""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import sys
import zlib

from pipm.core.sha256 import sha256
from pipm.fs.home import cache_home
from pipm.fs.trust import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_DIGEST = 32
_LONG = 60.0
"""Seconds after which an unfinished write is abandoned."""
_CHECK = 4
"""Bytes of the checksum."""


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
    import time  # noqa: PLC0415 - most commands write none

    from pipm.fs.durability import Durability, write_durably  # noqa: PLC0415 - likewise
    from pipm.fs.leftovers import remove_torn_writes  # noqa: PLC0415 - likewise
    from pipm.fs.opened import opened_folder  # noqa: PLC0415 - likewise

    with contextlib.suppress(OSError):
        os.makedirs(user_cache_folder(), mode=0o700, exist_ok=True)
        with opened_folder(user_cache_folder()) as folder:
            remove_torn_writes(folder, ("",), before=time.time() - _LONG)
            write_durably(folder, name, data, Durability.LATER)


def read_value(kind: str, state: str, of: str = "") -> Any:  # noqa: ANN401 - any value that marshal knows
    """Return the value that `write_value` cached for *kind* and *state*, or None."""
    key = _key(state)
    kept = memoryview(read_cache(_place(kind, key, of)) or b"")
    check, data = kept[_DIGEST : _DIGEST + _CHECK], kept[_DIGEST + _CHECK :]
    if kept[:_DIGEST] != key or check != _checksum(data):
        return None
    return marshal.loads(data)  # noqa: S302 - pipm wrote it: owner, key and checksum are right


def write_value(kind: str, state: str, value: Any, of: str = "") -> None:  # noqa: ANN401 - likewise
    """Cache *value* for *kind* and *state*, in one of 256 files; the digest of *state* chooses it.

    A value *of* something has a file of its own; `remove_values` removes old ones.
    """
    key, data = _key(state), marshal.dumps(value)
    write_cache(_place(kind, key, of), key + _checksum(data) + data)


def remove_values(kind: str, before: float) -> None:
    """Remove the values of *kind* that were cached *before* that time (seconds since the epoch)."""
    with contextlib.suppress(OSError):
        for name in os.listdir(user_cache_folder()):
            path = f"{user_cache_folder()}/{name}"
            if name.startswith(f"{kind}-") and os.lstat(path).st_mtime < before:
                os.unlink(path)


def packed(paths: Iterable[str]) -> bytes:
    """Compress *paths* for a value."""
    return zlib.compress(os.fsencode("\0".join(paths)), 1)


def unpacked(data: bytes) -> Iterable[bytes]:
    """Return the paths in what `packed` returned."""
    return filter(None, zlib.decompress(data).split(b"\0"))


def parsed_json(kind: str, data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of the JSON *data*; raise ValueError or RecursionError if it is none.

    json and its re take 5 ms to import. So the values of the same bytes are cached, for commands that import
    neither.
    """
    state = "" if "json" in sys.modules else f"{kind} {sha256(data).hexdigest()}"
    value = read_value(kind, state) if state else None
    if value is None:
        import json  # noqa: PLC0415 - see above

        value = json.loads(data)
        if state:
            write_value(kind, state, value)
    return value


def _checksum(data: bytes | memoryview) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECK, "little")


def _key(state: str) -> bytes:
    return sha256(state.encode("utf-8", "surrogateescape")).digest()


def _place(kind: str, key: bytes, of: str) -> str:
    return f"{kind}-{_key(of).hex()[:16] if of else key[:1].hex()}"
