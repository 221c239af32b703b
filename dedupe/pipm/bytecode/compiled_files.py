"""Sources with verified content, the names of their bytecode, and its pools."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.bytecode import header_time
from pipm.store.bytecode_pool import Pool

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

CACHE = "__pycache__"
_LEVELS = ("", ".opt-1", ".opt-2")
"""Optimisation levels as PEP 488 spells them."""


class ProvenSource(NamedTuple):
    """A source with verified content; its time was ``before_ns`` and is ``mtime_ns`` now."""

    directory: str
    name: str
    digest: Digest
    size: int
    before_ns: int
    mtime_ns: int

    @property
    def before(self) -> int:
        """The time that the header of its bytecode had."""
        return header_time(self.before_ns)

    @property
    def time(self) -> int:
        """The time that the header of its bytecode must have."""
        return header_time(self.mtime_ns)


def match_bytecode(name: str, interpreter: Interpreter | None) -> tuple[str, int] | None:
    """Return module and optimisation level if the file *name* is bytecode of *interpreter*, else None."""
    if interpreter is not None:
        for level, ending in enumerate(_endings(interpreter.cache_tag)):
            if name.endswith(ending):
                return name[: -len(ending)], level
    return None


@cache
def _endings(cache_tag: str) -> tuple[str, ...]:
    """Return the name suffixes of an interpreter's bytecode, by optimisation level."""
    return tuple(f".{cache_tag}{suffix}.pyc" for suffix in _LEVELS)


def open_pools(store: Store, interpreter: Interpreter) -> list[Pool]:
    """Return the interpreter's pools of bytecode, by level of optimisation."""
    return [Pool(folder=store.bytecode, interpreter=interpreter.pool(suffix)) for suffix in _LEVELS]
