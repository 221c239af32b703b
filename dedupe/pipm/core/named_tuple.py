"""NamedTuple without the import of typing, which takes as long as half a start of Python.

Modules of short commands use it; a type checker sees typing's own.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # typing's takes its import

if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:

    class _FromAnnotations(type):
        """Makes a `namedtuple` of a class, whose annotations are the fields, with its other attributes."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            """Return the tuple's class for a subclass of `NamedTuple`."""
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = namespace.pop("__annotations__")
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])  # noqa: PYI024
            for key, value in namespace.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_FromAnnotations):
        """The base of a tuple with named fields."""


__all__ = ["NamedTuple"]
