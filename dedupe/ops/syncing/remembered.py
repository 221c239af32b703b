"""What a lock asks for, kept: to parse one again takes as long as to link some thousand files."""

from __future__ import annotations

import hashlib
import marshal
from typing import TYPE_CHECKING, Any

from dedupe import __version__
from dedupe.core.pins import Archive, Folder, Pin, Repository
from dedupe.fs.cache import read_cache, write_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupe.core.target import Target

_FORMAT = 1
_KINDS = (Archive, Repository, Folder)
_KEY = 32


def remembered_pins(promise: str, target: Target, read: Callable[[], Sequence[Pin]]) -> Sequence[Pin]:
    """The pins that were read before for *target* from the lock with this *promise*, else those of *read*.

    The cache has 256 places, each for the last of the locks that fall to it.
    """
    fields = [kind.__slots__ for kind in (Pin, *_KINDS)]
    state = f"{_FORMAT} {__version__} {fields} {promise} {sorted(target.markers.items())} {target.tags}"
    key = hashlib.sha256(state.encode()).digest()
    name = f"pins-{key[:1].hex()}"
    kept = read_cache(name) or b""
    if kept[:_KEY] == key and kept[_KEY : 2 * _KEY] == hashlib.sha256(kept[2 * _KEY :]).digest():
        return [_pin(row) for row in marshal.loads(memoryview(kept)[2 * _KEY :])]  # noqa: S302 - our own, by its digest
    pins = read()
    data = marshal.dumps([_plain(pin) for pin in pins])
    write_cache(name, key + hashlib.sha256(data).digest() + data)
    return pins


def _plain(value: Any) -> Any:  # noqa: ANN401 - marshal takes what is built in
    """The value as tuples; what is a dataclass begins with the number of its kind."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, (Pin, *_KINDS)):
        kind = -1 if isinstance(value, Pin) else _KINDS.index(type(value))
        return (kind, *(_plain(getattr(value, name)) for name in value.__slots__))
    return value


def _pin(row: tuple[Any, ...]) -> Pin:
    values = dict(zip(Pin.__slots__, row[1:], strict=True))
    values["wheels"] = tuple(map(_origin, values["wheels"]))
    return Pin(**values | {name: _origin(values[name]) for name in ("sdist", "origin")})


def _origin(row: tuple[Any, ...] | None) -> Any:  # noqa: ANN401 - one of the kinds
    if row is None:
        return None
    kind = _KINDS[row[0]]
    return kind(**dict(zip(kind.__slots__, row[1:], strict=True)))
