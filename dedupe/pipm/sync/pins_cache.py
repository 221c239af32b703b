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

_FORMAT = 4
_KINDS = (Archive, Repository, SourceFolder)


def cached_pins(lock: str, folder: str, target: Target, read: Callable[[], Sequence[Pin]]) -> Sequence[Pin]:
    """Return the cached pins of a lock in *folder* for *target*, or those of *read*.

    *lock* is the name, the content and the selection. Equal locks in other folders, such as git worktrees,
    have the same pins unless these name other paths than the lock's folder.
    """
    fields = [Pin._fields, *(kind._fields for kind in _KINDS)]
    state = f"{_FORMAT} {__version__} {fields} {sorted(target.markers.items())} {target.tags} {lock}"
    for place in ("", folder):
        kept = read_value("pins", f"{state} {place}")
        if kept is not None:
            return [_pin(row, folder) for row in kept]
    pins = read()
    if not any(map(has_credentials, _urls(pins))):
        place = "" if {*_paths(pins)} <= {folder} else folder
        write_value("pins", f"{state} {place}", [_plain(pin, folder) for pin in pins])
    return pins


def _urls(pins: Sequence[Pin]) -> Iterator[str]:
    for pin in pins:
        for one in (*pin.wheels, pin.sdist, pin.origin):
            if isinstance(one, Archive | Repository) and one.url:
                yield one.url
        yield from filter(None, (pin.index_url, *pin.options))


def _paths(pins: Sequence[Pin]) -> Iterator[str]:
    for pin in pins:
        for one in (*pin.wheels, pin.sdist, pin.origin):
            if isinstance(one, Archive | SourceFolder) and one.path is not None:
                yield one.path


def _plain(value: Any, folder: str) -> Any:  # noqa: ANN401 - marshal accepts only built-in types
    """Return *value* as plain tuples; that of an origin begins with the index of its kind.

    The path of *folder* is empty.
    """
    if isinstance(value, Pin):
        return tuple(_plain(getattr(value, name), folder) for name in Pin._fields)
    if isinstance(value, SourceFolder) and value.path == folder:
        value = value._replace(path="")
    if isinstance(value, _KINDS):
        return (_KINDS.index(type(value)), *(_plain(one, folder) for one in tuple(value)))
    return tuple(_plain(one, folder) for one in value) if isinstance(value, tuple) else value


def _pin(row: tuple[Any, ...], folder: str) -> Pin:
    values = dict(zip(Pin._fields, row, strict=True))
    values["wheels"] = tuple(_origin(one, folder) for one in values["wheels"])
    return Pin(**values | {name: _origin(values[name], folder) for name in ("sdist", "origin")})


def _origin(row: tuple[Any, ...] | None, folder: str) -> Any:  # noqa: ANN401 - one of the kinds
    if row is None:
        return None
    found = _KINDS[row[0]](*row[1:])
    return found._replace(path=folder) if isinstance(found, SourceFolder) and not found.path else found
