"""Measuring trees while other processes change them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pipm.fs.measure import KnownInodes, catalogue, measure_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


def test_files_that_go_meanwhile_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull publishes files of the store while `list` measures it."""
    real = os.scandir

    @contextlib.contextmanager
    def scandir(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(path) as scan:
            entries = list(scan)
        for entry in entries:
            if entry.name.startswith("gone"):
                os.unlink(entry.path)
        yield iter(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    stock = KnownInodes(path=str(tmp_path), device=0, inodes={})
    for measure in (catalogue, lambda path: measure_tree(path, stock)):
        (tmp_path / "stays").write_bytes(b"abc")
        (tmp_path / "gone").write_bytes(b"x" * 5000)
        (tmp_path / "gone-link").symlink_to(tmp_path / "stays")
        assert measure(str(tmp_path)).usage.apparent == 3
