"""Asking an environment's interpreter which bytecode it reads."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import MAGIC_NUMBER

from pipm.core.named_tuple import NamedTuple
from pipm.env.interpreter_cache import ask_json_or_none, cached_answer
from pipm.env.permission import refusal

_QUESTION = (
    "import sys, importlib.util as u, importlib.machinery as m, json;"
    "print(json.dumps([sys.implementation.cache_tag, u.MAGIC_NUMBER.hex(), m.EXTENSION_SUFFIXES]))"
)


class Interpreter(NamedTuple):
    """An interpreter: its path, its cache tag (PEP 3147) and the magic number (4 bytes) of its bytecode.

    ``extensions`` are the suffixes of its extension modules in its own order.
    """

    path: str
    cache_tag: str
    magic: bytes
    extensions: tuple[str, ...] = ()

    def pool(self, suffix: str) -> str:
        """Return the name of its bytecode pool; *suffix* is "", ``.opt-1`` or ``.opt-2`` (PEP 488)."""
        return f"{self.cache_tag}{suffix}-{int.from_bytes(self.magic[:2], 'little')}"


def ask_interpreter(path: str | None) -> Interpreter | None:
    """Run the interpreter at *path* without site, or read the cached answer.

    Returns None if it does not run, must not be run (`env.permission`), or writes no bytecode.
    """
    if path is None or refusal(path) is not None:
        return None
    answer = _asked(os.path.realpath(path))
    if answer is None:
        return None
    tag, magic, extensions = answer
    return Interpreter(path=path, cache_tag=tag, magic=magic, extensions=extensions)


@cache
def _asked(path: str) -> tuple[str, bytes, tuple[str, ...]] | None:
    """Return the answer of the interpreter at the real *path*, which is that of many environments."""
    if path == os.path.realpath(sys.executable):
        own = sys.implementation.cache_tag
        return (own, MAGIC_NUMBER, tuple(EXTENSION_SUFFIXES)) if own else None
    try:
        tag, magic, extensions = cached_answer(
            path, "bytecode", lambda: ask_json_or_none(path, "-I", "-S", "-c", _QUESTION)
        )
        return (tag, bytes.fromhex(magic), tuple(extensions)) if tag else None
    except (ValueError, TypeError):
        return None
