"""Removing a distribution from an environment."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pipm.core.plan.sync_plan import Installed
from pipm.sync.uninstall import uninstall
from support.synthetic import write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_no_empty_metadata_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution without RECORD could not be removed by a later sync."""
    write(str(tmp_path / "site/demo.py"), b"")
    write(str(tmp_path / "site/demo-1.dist-info/RECORD"), b"demo.py,,\ndemo-1.dist-info/RECORD,,\n")
    (tmp_path / "tmp").mkdir()
    folders = [os.open(path, os.O_RDONLY) for path in (tmp_path, tmp_path / "tmp")]
    context: Any = SimpleNamespace(
        root=folders[0], staging=folders[1], shared_state=SimpleNamespace(check=lambda: None)
    )
    remove = os.rmdir

    def rmdir(name: str, *, dir_fd: int) -> None:
        if os.path.samestat(os.stat(dir_fd), os.stat(tmp_path / "site")):
            raise OSError
        remove(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)
    uninstall(context, Installed("demo", "1", "site", "demo-1.dist-info", removable=True), lambda _: False)
    assert list((tmp_path / "site").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    for folder in folders:
        os.close(folder)
