"""Paths from data never follow a symlink and never leave their root."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest
from pipm.fs import beneath
from pipm.fs.beneath import NOT_THERE, directory_beneath, open_beneath, open_directory_beneath
from pipm.fs.walk_tree import inode_counts, walk_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ = os.O_RDONLY
FOLDER = os.O_RDONLY | os.O_DIRECTORY


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """An open folder with a victim beside it."""
    os.makedirs(tmp_path / "root/a/b")
    os.makedirs(tmp_path / "root-2")
    for name in ("root/a/file", "root/a/b/file", "root-2/victim", "root/..odd"):
        (tmp_path / name).write_text(name)
    os.symlink("a", tmp_path / "root/inner")
    os.symlink("a/file", tmp_path / "root/inner-file")
    os.symlink(tmp_path / "root-2", tmp_path / "root/outer")
    os.symlink("../root-2/victim", tmp_path / "root/outer-file")
    os.symlink("/proc/self/root", tmp_path / "root/magic")
    os.symlink("nowhere", tmp_path / "root/broken")
    folder = os.open(tmp_path / "root", os.O_RDONLY)
    yield folder
    os.close(folder)


CASES = [
    ("a/file", READ, {0}),
    ("a/b/file", READ, {0}),
    ("./a/./b//file", READ, {0}),
    ("..odd", READ, {0}),
    ("a", FOLDER, {0}),
    ("a/b/", FOLDER, {0}),
    ("a/b/", READ, {0}),
    (".", FOLDER, {0}),
    ("./", FOLDER, {0}),
    ("", FOLDER, {errno.ENOENT}),
    ("", READ, {errno.ENOENT}),
    ("a/none", READ, {errno.ENOENT}),
    ("none/file", READ, {errno.ENOENT}),
    ("a/file/", READ, {errno.ENOTDIR}),
    ("a/file/.", READ, {errno.ENOTDIR}),
    ("a/file", FOLDER, {errno.ENOTDIR}),
    ("a/file/deeper", READ, {errno.ENOTDIR}),
    ("inner/file", READ, {errno.ELOOP, errno.ENOTDIR}),
    ("inner", FOLDER, {errno.ELOOP, errno.ENOTDIR}),
    ("inner-file", READ, {errno.ELOOP}),
    ("outer/victim", READ, {errno.ELOOP, errno.ENOTDIR}),
    ("outer-file", READ, {errno.ELOOP}),
    ("magic/etc/passwd", READ, {errno.ELOOP, errno.ENOTDIR}),
    ("broken", READ, {errno.ELOOP}),
    ("..", FOLDER, {errno.EXDEV}),
    ("../root-2/victim", READ, {errno.EXDEV}),
    ("a/../../root-2/victim", READ, {errno.EXDEV}),
    ("a/../a/file", READ, {errno.EXDEV}),
    ("inner/../../root-2/victim", READ, {errno.EXDEV}),
    ("/etc/passwd", READ, {errno.EXDEV}),
    ("//etc/passwd", READ, {errno.EXDEV}),
    ("/", FOLDER, {errno.EXDEV}),
    ("a/file\0/../../x", READ, {errno.ENOENT}),
    ("a/file\0", READ, {errno.ENOENT}),
    ("a" * 300, READ, {errno.ENAMETOOLONG}),
]


def outcome(root: int, path: str, flags: int) -> tuple[int, int]:
    """The error's number and 0, or 0 and the inode that was opened."""
    try:
        file = open_beneath(root, path, flags)
    except OSError as error:
        return error.errno or -1, 0
    try:
        assert not os.get_inheritable(file)
        return 0, os.fstat(file).st_ino
    finally:
        os.close(file)


@pytest.mark.parametrize(("path", "flags", "numbers"), CASES)
def test_the_kernel_and_the_steps_agree(
    root: int, monkeypatch: pytest.MonkeyPatch, path: str, flags: int, numbers: set[int]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(beneath, "_opens", beneath._FEW)
    by_kernel = outcome(root, path, flags)
    assert not beneath._missing, "this kernel has no openat2"
    monkeypatch.setattr(beneath, "_missing", True)
    by_steps = outcome(root, path, flags)
    assert by_kernel[0] in numbers
    assert by_steps[0] in numbers
    assert by_kernel[1] == by_steps[1]
    assert len(os.listdir("/proc/self/fd")) <= before  # what another test left may be closed meanwhile


def test_an_old_kernel_is_asked_once(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*_arguments: object) -> int:
        asked.append(1)
        ctypes.set_errno(errno.ENOSYS)
        return -1

    monkeypatch.setattr(beneath, "_missing", False)
    monkeypatch.setattr(beneath, "_opens", beneath._FEW)
    monkeypatch.setattr(beneath, "_openat2_call", lambda: refuse)
    for _ in range(3):
        assert outcome(root, "a/file", READ)[0] == 0
        assert outcome(root, "inner-file", READ)[0] == errno.ELOOP
    assert len(asked) == 1


def test_a_name_that_is_no_utf8(root: int) -> None:
    name = os.fsdecode(b"caf\xe9")
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=root))
    assert outcome(root, name, READ)[0] == 0


def test_a_folder_that_may_be_entered_is_open_for_a_while(root: int) -> None:
    with directory_beneath(root, "a/b") as folder:
        assert folder is not None
        assert os.listdir(folder) == ["file"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(folder)
    with directory_beneath(root, "") as folder:
        assert folder is not None
        assert os.path.samestat(os.fstat(folder), os.fstat(root))


@pytest.mark.parametrize("path", ["none", "a/file", "inner", "outer", "..", "/etc", "magic/etc"])
def test_a_folder_that_may_not_be_entered(root: int, path: str) -> None:
    with directory_beneath(root, path) as folder:
        assert folder is None
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        open_directory_beneath(root, path)
    assert caught.value.errno in NOT_THERE


def test_a_broken_disk_is_no_missing_folder(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_root: int, path: str) -> int:
        raise OSError(errno.EIO, "broken", path)

    monkeypatch.setattr(beneath, "open_directory_beneath", fail)
    with pytest.raises(OSError, match="broken"), directory_beneath(root, "a"):
        pytest.fail("it was taken for a missing folder")


def test_walking_names_all_but_folders(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "a/b/empty")
    os.makedirs(tmp_path / "other")
    for name in ("top", "a/one", "a/b/two", "other/unseen"):
        (tmp_path / name).write_text(name)
    os.symlink(tmp_path / "other", tmp_path / "a/link")
    os.link(tmp_path / "a/one", tmp_path / "a/b/again")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a/socket"))
    found = {f"{folder}/{entry.name}" for folder, entry in walk_entries(str(tmp_path / "a"))}
    assert found == {"/one", "/link", "/socket", "b/two", "b/again"}
    counts = inode_counts(str(tmp_path / "a"))
    assert counts[os.stat(tmp_path / "a/one").st_ino] == 2
    assert counts[os.stat(tmp_path / "a/b/two").st_ino] == 1
    assert os.stat(tmp_path / "other/unseen").st_ino not in counts
    assert list(walk_entries(str(tmp_path / "none"))) == []
