"""A file system is synced in the background: what a sync has written, and what happens if one fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from pipm.errors import FileSystemError
from pipm.fs import background_sync
from pipm.fs.background_sync import BackgroundSync

if TYPE_CHECKING:
    from pathlib import Path


def test_only_a_sync_that_begins_later_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    syncs = BackgroundSync(os.open(tmp_path, os.O_RDONLY))
    monkeypatch.setattr(background_sync, "sync_file_system", lambda _: numbers.append(syncs.next()))
    first = syncs.next()
    assert not syncs.is_done(first)
    with syncs:
        syncs.wait(first)
        assert syncs.is_done(first)
        second = syncs.next()
        assert second > first
        syncs.wait(second)
    assert numbers[:2] == [2, 3]  # what is written while the first one runs is for the second one


def test_no_sync_counts_after_one_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """syncfs(2) reports an error only once."""
    asked: list[int] = []

    def fail(file: int) -> None:
        asked.append(file)
        raise OSError(errno.EIO, "it broke")

    monkeypatch.setattr(background_sync, "sync_file_system", fail)
    syncs = BackgroundSync(os.open(tmp_path, os.O_RDONLY))

    def wait() -> None:
        with syncs, pytest.raises(FileSystemError, match="could not be written"):
            syncs.wait(syncs.next())

    with pytest.raises(OSError, match="it broke"):
        wait()
    assert not syncs.is_done(1)
    assert len(asked) == 1
