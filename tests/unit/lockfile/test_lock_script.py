"""Inline metadata of scripts, compared with the regular expression of PEP 723."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pipm.errors import LockError
from pipm.lockfile.inline_script import script_block, script_lock

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
LINES = ["# /// script", "# ///", "#", "# x = 1", "#x", "", "code", "# /// other", "#  y = 2", " # ///"]


def reference(text: str) -> str | None:
    """What the specification's own example makes of *text*."""
    found = [match for match in REFERENCE.finditer(text) if match["type"] == "script"]
    if len(found) > 1:
        raise LockError("two")
    if not found:
        return None
    return "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in found[0]["content"].splitlines(keepends=True)
    )


@settings(max_examples=300)
@given(some.lists(some.sampled_from(LINES), max_size=12))
def test_it_is_the_block_of_the_specification(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "script.py"
    text = "\n".join([*lines, ""])
    path.write_text(text, encoding="utf-8")
    try:
        wanted = reference(text)
    except LockError:
        with pytest.raises(LockError):
            script_block(str(path))
        return
    found = script_block(str(path))
    assert (None if found is None else found.decode()) == (
        None if wanted is None else wanted.removesuffix("\n")
    )


def test_line_ends_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"# /// script\r\n# x = 1\r\n# ///\r\n")
    assert script_block(str(path)) == b"x = 1"


def test_its_own_lock_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    (tmp_path / "pylock.toml").write_text("")
    assert script_lock(str(path)) is None
    (tmp_path / "pylock.a.toml").write_text("")
    assert script_lock(str(path)) == str(tmp_path / "pylock.a.toml")
    (tmp_path / "a.py.lock").write_text("")
    assert script_lock(str(path)) == str(tmp_path / "a.py.lock")
