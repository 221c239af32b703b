"""Syncing a file system during other work."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from pipm.fs import durability

if TYPE_CHECKING:
    from pathlib import Path


def test_an_error_is_raised_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_files: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durability, "sync_file_systems", fail)
    done = []
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), durability.syncing([]):
        done.append(True)
    assert done


def test_it_has_ended_when_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(durability, "sync_file_system", synced.append)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with durability.syncing([folder, folder]):
            pass
        assert synced == [folder]
    finally:
        os.close(folder)
