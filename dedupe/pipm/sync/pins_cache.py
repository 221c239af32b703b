"""The cached pins of a lock: parsing it again takes as long as linking some thousand files."""

from __future__ import annotations

from pipm import __version__
from pipm.core.addresses import has_credentials
from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.fs.cache_files import read_value, write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from pipm.core.target import Target

_FORMAT = 3
_KINDS = (Archive, Repository, SourceFolder)


def cached_pins(fingerprint: str, target: Target, read: Callable[[], Sequence[Pin]]) -> Sequence[Pin]:
    """Return the cached pins of the lock with this *fingerprint* for *target*, or those of *read*."""
    fields = [Pin._fields, *(kind._fields for kind in _KINDS)]
    state = f"{_FORMAT} {__version__} {fields} {fingerprint} {sorted(target.markers.items())} {target.tags}"
    kept = read_value("pins", state)
    if kept is not None:
        return [_pin(row) for row in kept]
    pins = read()
    if not any(map(has_credentials, _urls(pins))):
        write_value("pins", state, [_plain(pin) for pin in pins])
    return pins


def _urls(pins: Sequence[Pin]) -> Iterator[str]:
    for pin in pins:
        for one in (*pin.wheels, pin.sdist, pin.origin):
            if isinstance(one, Archive | Repository) and one.url:
                yield one.url
        yield from filter(None, (pin.index_url, *pin.options))


def _plain(value: Any) -> Any:  # noqa: ANN401 - marshal accepts only built-in types
    """Return *value* as plain tuples; that of an origin begins with the index of its kind."""
    if isinstance(value, Pin):
        return tuple(_plain(getattr(value, name)) for name in Pin._fields)
    if isinstance(value, _KINDS):
        return (_KINDS.index(type(value)), *map(_plain, tuple(value)))
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _pin(row: tuple[Any, ...]) -> Pin:
    values = dict(zip(Pin._fields, row, strict=True))
    values["wheels"] = tuple(map(_origin, values["wheels"]))
    return Pin(**values | {name: _origin(values[name]) for name in ("sdist", "origin")})


def _origin(row: tuple[Any, ...] | None) -> Any:  # noqa: ANN401 - one of the kinds
    if row is None:
        return None
    return _KINDS[row[0]](*row[1:])
