"""The answers of the compiler that an environment's interpreter runs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from pipm.bytecode import compiler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def compiled(source: Path, target: Path) -> object:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    request = ("compile", str(source), digest, "m.py", str(target), 0, source.stat().st_size, 0)
    return cast("Callable[[object], object]", compiler.answer)(request)


def test_a_disk_that_fails_tells_nothing_of_the_source(tmp_path: Path) -> None:
    """A source that does not compile is remembered as such; a full disk must not make it one."""
    source = tmp_path / "m.py"
    source.write_text("x = 1\n")
    assert compiled(source, tmp_path / "m.pyc") is True
    failed = compiled(source, tmp_path / "none" / "m.pyc")
    assert failed == 0
    assert failed is not False
    source.write_text("x = = 1\n")
    assert compiled(source, tmp_path / "n.pyc") is False
