"""What a lock asks for, kept: to parse one again takes as long as to link some thousand files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dedupe import __version__
from dedupe.core.pins import Archive, Folder, Pin, Repository
from dedupe.fs.cache import read_value, write_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupe.core.target import Target

_FORMAT = 1
_KINDS = (Archive, Repository, Folder)


def remembered_pins(promise: str, target: Target, read: Callable[[], Sequence[Pin]]) -> Sequence[Pin]:
    """The pins that were read before for *target* from the lock with this *promise*, else those of *read*."""
    fields = [kind.__slots__ for kind in (Pin, *_KINDS)]
    state = f"{_FORMAT} {__version__} {fields} {promise} {sorted(target.markers.items())} {target.tags}"
    kept = read_value("pins", state)
    if kept is not None:
        return [_pin(row) for row in kept]
    pins = read()
    write_value("pins", state, [_plain(pin) for pin in pins])
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
