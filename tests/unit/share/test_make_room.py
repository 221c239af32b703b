"""The room that an adoption needs on a nearly full disk, before anything is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from pipm.fs.free_space import Free
from pipm.share.make_room import existing_folder, has_room, room_for

if TYPE_CHECKING:
    from pathlib import Path

FILES = st.integers(0, 10**6)


@given(FILES, FILES, st.integers(0, 10**12))
def test_equal_files_that_are_shared_first_never_raise_the_need(files: int, twins: int, gain: int) -> None:
    need, less = room_for(files), room_for(files, twins, gain)
    assert has_room(need, less)
    assert less.size >= room_for(0, 10**9, 10**15).size > 0


def test_a_file_system_without_inode_limit_has_inodes() -> None:
    need = room_for(1000)
    assert has_room(Free(need.size, None), need)
    assert not has_room(Free(need.size - 1, None), need)
    assert need.inodes is not None
    assert not has_room(Free(need.size, need.inodes - 1), need)


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert existing_folder(f"{tmp_path}/a/b/c") == str(tmp_path)
    os.mkdir(tmp_path / "a")
    assert existing_folder(f"{tmp_path}/a/b/c") == f"{tmp_path}/a"
