"""Sources with verified content, and the names and pools of their bytecode."""

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
"""The suffixes of the optimisation levels (PEP 488)."""


class ProvenSource(NamedTuple):
    """A source with verified content; its old time was ``before_ns``, its new one is ``mtime_ns``."""

    directory: str
    name: str
    digest: Digest
    size: int
    before_ns: int
    mtime_ns: int

    @property
    def before(self) -> int:
        """The old time in the header of its bytecode (seconds)."""
        return header_time(self.before_ns)

    @property
    def time(self) -> int:
        """The new time in the header of its bytecode (seconds)."""
        return header_time(self.mtime_ns)


def match_bytecode(name: str, interpreter: Interpreter | None) -> tuple[str, int] | None:
    """Return module and optimisation level of the bytecode *name*; None if it is not *interpreter*'s."""
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
