"""Logins for the indexes in a lock, from variables of uv and Poetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.pins import Archive, Pin
from pipm.lockfile.index_logins import with_index_logins

if TYPE_CHECKING:
    from pathlib import Path


def test_addresses_that_are_none_are_passed_over(tmp_path: Path) -> None:
    """They stand in variables and settings of another tool, which tells of them."""
    (tmp_path / "pyproject.toml").write_text('[[tool.uv.index]]\nname = "bad"\nurl = "https://[/"\n')
    pin = Pin("a", "1", wheels=(Archive("a-1-py3-none-any.whl"),), index_url="https://host/simple")
    environ = {"UV_INDEX": "https://[/ https://me:word@host/simple/", "UV_INDEX_BAD_USERNAME": "me"}
    (found,) = with_index_logins([pin], str(tmp_path), environ)
    assert found.index_url == "https://me:word@host/simple/"
