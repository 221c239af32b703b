"""Cached disk usage: what makes it void, and which environment is measured next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core.disk_usage import DiskUsage
from pipm.fs.cache_files import read_cache, user_cache_folder
from pipm.inspect.usage_cache import (
    EnvironmentStamp,
    Figures,
    UsageCache,
    _from_json,
    _to_json,
    open_usage_cache,
    stamp_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def figures(*, files: int = 10, when: float = 100.0, stamp: str = "1 2 3") -> Figures:
    usage = DiskUsage(apparent=1, on_disk=2, exclusive=3, files=files)
    return Figures(stamp, ("lib/python3.11/site-packages",), when, "3.11.7", 4, usage, 5, {"i 1 2": 6})


@given(st.dictionaries(st.text(), st.integers(0, 2**40)))
def test_what_is_written_is_read(outside: dict[str, int]) -> None:
    rows = {"/env": figures()._replace(outside=outside)}
    assert _from_json(_to_json(rows)) == rows


@given(st.dictionaries(st.integers(0, 500), st.tuples(st.integers(1, 200_000), st.floats(0, 1000))))
def test_every_environment_has_its_turn(crowd: dict[int, tuple[int, float]]) -> None:
    """After enough measurements each environment was measured, also large ones."""
    usage_cache = UsageCache(name="x", rows={}, now=0.0)
    known = {
        str(number): (figures(files=files, when=when), EnvironmentStamp("1 2 3", 0.0))
        for number, (files, when) in crowd.items()
    }
    waiting = set(known)
    for turn in range(len(known)):
        due = usage_cache.due(known)
        assert due
        for path in due:
            known[path] = (known[path][0]._replace(when=2000.0 + turn), known[path][1])
        waiting -= due
    assert not waiting


def test_those_in_use_come_first() -> None:
    usage_cache = UsageCache(name="x", rows={}, now=0.0)
    known = {
        "idle": (figures(files=90_000, when=10.0), EnvironmentStamp("", 5.0)),
        "used": (figures(files=90_000, when=20.0), EnvironmentStamp("", 25.0)),
    }
    assert usage_cache.due(known) == {"used"}


def test_a_stamp_changes_with_what_installers_touch(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    marker = tmp_path / "pyvenv.cfg"
    marker.write_text("version = 3.11.7\n")
    sites = ["lib/python3.11/site-packages"]
    stamp = stamp_of(str(tmp_path), sites, None)
    assert stamp is not None
    assert stamp_of(str(tmp_path), sites, None) == stamp
    for folder in (site, tmp_path):  # a dist-info comes or goes; adopt and release work beside pyvenv.cfg
        os.utime(folder, ns=(1, os.stat(folder).st_mtime_ns + 1_000))
        now = stamp_of(str(tmp_path), sites, None)
        assert now is not None
        assert now.text != stamp.text
        stamp = now
    marker.unlink()
    assert stamp_of(str(tmp_path), sites, None) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1, "rows": {"/env": [1]}}', b"\xff"])
def test_a_torn_ledger_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    usage_cache = open_usage_cache("/store")
    usage_cache.note("/env", figures(when=usage_cache.now))
    usage_cache.save(["/env"])
    assert open_usage_cache("/store").rows == {"/env": figures(when=usage_cache.now)}
    assert open_usage_cache("/other").rows == {}
    with open(f"{user_cache_folder()}/{usage_cache.name}", "wb") as file:
        file.write(content)
    assert open_usage_cache("/store").rows == {}
    assert read_cache("nothing") is None


def test_a_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    usage_cache = open_usage_cache("/store")
    usage_cache.note("/env", figures())
    usage_cache.save(["/env"])
    assert open_usage_cache("/store").rows == {}
