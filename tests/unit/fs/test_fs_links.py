"""Link modes, staging and sweeping: the right files appear, and nothing else changes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from pipm.errors import FileSystemError, LinkingImpossibleError, UsageError
from pipm.fs import reflinks
from pipm.fs.leftovers import STAGING, sweep
from pipm.fs.link_modes import (
    LinkMode,
    can_hardlink,
    choose_link_mode,
    parse_link_mode,
    place_file,
    probe_link_mode,
)
from pipm.fs.removal import remove_tree
from pipm.fs.staging import Staging, staging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG_AGO = 1_600_000_000


class Folders:
    """Two open folders."""

    def __init__(self, base: Path) -> None:
        self.store, self.target = str(base / "store"), str(base / "target")
        os.mkdir(self.store)
        os.mkdir(self.target)
        self.from_ = os.open(self.store, os.O_RDONLY)
        self.to = os.open(self.target, os.O_RDONLY)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    made = Folders(tmp_path)
    yield made
    os.close(made.from_)
    os.close(made.to)


def write(path: str, content: bytes, mode: int = 0o444) -> None:
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.utime(path, (LONG_AGO, LONG_AGO))


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def refuse(number: int) -> object:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_words_of_link_modes() -> None:
    assert parse_link_mode("auto") is None
    assert [parse_link_mode(mode.value) for mode in LinkMode] == list(LinkMode)
    with pytest.raises(UsageError) as caught:
        parse_link_mode("magic")
    assert "'magic'" in caught.value.message
    assert caught.value.hint == "choose one of auto, reflink, hardlink, finder, symlink, copy"


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.SYMLINK, LinkMode.COPY])
@pytest.mark.parametrize("bits", [0o444, 0o555])
def test_a_file_appears(folders: Folders, mode: LinkMode, bits: int) -> None:
    write(f"{folders.store}/a", b"content", bits)
    source = f"{folders.store}/a" if mode is LinkMode.SYMLINK else "a"
    place_file(mode, folders.from_, source, folders.to, "b")
    stored, status = os.stat(f"{folders.store}/a"), os.stat(f"{folders.target}/b")
    assert read(f"{folders.target}/b") == b"content"
    assert (status.st_mode & 0o7777, status.st_mtime) == (bits, LONG_AGO)
    assert os.path.islink(f"{folders.target}/b") == (mode is LinkMode.SYMLINK)
    assert (status.st_ino == stored.st_ino) == (mode is not LinkMode.COPY)


@pytest.mark.parametrize("mode", [mode for mode in LinkMode if mode is not LinkMode.FINDER])
def test_no_mode_replaces_what_is_there(folders: Folders, mode: LinkMode) -> None:
    write(f"{folders.store}/a", b"content")
    write(f"{folders.target}/b", b"mine")
    source = f"{folders.store}/a" if mode is LinkMode.SYMLINK else "a"
    with pytest.raises(FileExistsError):
        place_file(mode, folders.from_, source, folders.to, "b")
    assert read(f"{folders.target}/b") == b"mine"


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_a_symlink_is_not_followed(folders: Folders, tmp_path: Path, mode: LinkMode) -> None:
    write(str(tmp_path / "secret"), b"secret", 0o600)
    os.symlink(tmp_path / "secret", f"{folders.store}/a")
    if mode is LinkMode.COPY:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
            place_file(mode, folders.from_, "a", folders.to, "b")
        assert caught.value.errno == errno.ELOOP
        assert os.listdir(folders.target) == []
    else:
        place_file(mode, folders.from_, "a", folders.to, "b")
        assert os.path.islink(f"{folders.target}/b")


def test_a_copy_that_fails_leaves_nothing(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"{folders.store}/a", b"content")
    monkeypatch.setattr(os, "write", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        place_file(LinkMode.COPY, folders.from_, "a", folders.to, "b")
    assert os.listdir(folders.target) == []


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.SYMLINK, LinkMode.COPY])
def test_a_probe_leaves_nothing(folders: Folders, mode: LinkMode) -> None:
    probe_link_mode(mode, folders.from_, folders.store, folders.to)
    assert os.listdir(folders.store) == os.listdir(folders.target) == []


def test_the_first_mode_that_works(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = (folders.from_, folders.store, folders.to)
    assert choose_link_mode(LinkMode.SYMLINK, *choice) is LinkMode.SYMLINK
    monkeypatch.setattr(reflinks, "clone_into", refuse(errno.EOPNOTSUPP))
    assert choose_link_mode(None, *choice) is LinkMode.HARDLINK
    assert can_hardlink(*choice)
    monkeypatch.setattr(os, "link", refuse(errno.EXDEV))
    assert not can_hardlink(*choice)
    with pytest.raises(LinkingImpossibleError) as caught:
        choose_link_mode(None, *choice)
    assert caught.value.message == "reflink: Operation not supported; hardlink: Invalid cross-device link"
    assert os.listdir(folders.store) == os.listdir(folders.target) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_disk_is_no_missing_mode(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    choice = (folders.from_, folders.store, folders.to)
    monkeypatch.setattr(os, "link", refuse(number))
    with pytest.raises(FileSystemError) as caught:
        choose_link_mode(LinkMode.HARDLINK, *choice)
    assert os.strerror(number) in caught.value.message
    assert caught.value.hint
    with pytest.raises(FileSystemError):
        can_hardlink(*choice)


def test_a_hard_link_that_is_a_symlink_is_none(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def beegfs(source: str, name: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        assert (src_dir_fd, follow_symlinks) == (folders.from_, False)
        os.symlink(f"{folders.store}/{source}", name, dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "link", beegfs)
    assert not can_hardlink(folders.from_, folders.store, folders.to)
    assert os.listdir(folders.store) == os.listdir(folders.target) == []


def test_replacing_is_one_rename(folders: Folders) -> None:
    write(f"{folders.store}/a", b"new")
    write(f"{folders.target}/b", b"old")
    with staging(folders.to) as parent:
        area = Staging(parent, "0")
        area.put(LinkMode.HARDLINK, folders.from_, "a", folders.to, "b")
        assert os.listdir(f"{folders.target}/{STAGING}/0") == []
        assert os.stat(f"{folders.target}/{STAGING}").st_mode & 0o777 == 0o700
        write(f"{folders.target}/c", b"old")
        area.link_over(folders.from_, "a", folders.to, "c")
        area.link_over(folders.from_, "a", folders.to, "c")  # two names of one inode: rename does nothing
    assert sorted(os.listdir(folders.target)) == ["b", "c"]
    inodes = {os.stat(path).st_ino for path in (f"{folders.target}/b", f"{folders.target}/c")}
    assert inodes == {os.stat(f"{folders.store}/a").st_ino}
    assert os.stat(f"{folders.store}/a").st_nlink == 3


def test_a_private_copy(folders: Folders) -> None:
    write(f"{folders.store}/a", b"content", 0o444)
    with staging(folders.to) as parent, open(f"{folders.store}/a", "rb") as source:
        area = Staging(parent, "0")
        name = area.copy(source.fileno(), 0o640, 5_000_000_007)
        area.move(name, folders.to, "b")
        assert area.copy(source.fileno(), 0o640) != name
    status = os.stat(f"{folders.target}/b")
    assert (read(f"{folders.target}/b"), status.st_mode & 0o7777) == (b"content", 0o640)
    assert status.st_mtime_ns == 5_000_000_007


def test_a_rename_that_fails_leaves_the_old(folders: Folders) -> None:
    write(f"{folders.store}/a", b"new")
    os.makedirs(f"{folders.target}/b/full")
    with staging(folders.to) as parent:
        area = Staging(parent, "0")
        with pytest.raises(IsADirectoryError):
            area.link_over(folders.from_, "a", folders.to, "b")
        assert os.listdir(f"{folders.target}/{STAGING}/0") == []
    assert os.path.isdir(f"{folders.target}/b/full")


def test_a_killed_runs_names_are_swept(folders: Folders, tmp_path: Path) -> None:
    write(str(tmp_path / "outside"), b"mine")
    os.makedirs(f"{folders.target}/{STAGING}/0/deep")
    write(f"{folders.target}/{STAGING}/0/17", b"torn")
    os.symlink(tmp_path / "outside", f"{folders.target}/{STAGING}/0/link")
    os.symlink(tmp_path, f"{folders.target}/{STAGING}/folder")
    with staging(folders.to) as parent:
        assert os.listdir(parent) == []
    assert os.listdir(folders.target) == []
    assert read(str(tmp_path / "outside")) == b"mine"
    sweep(folders.to)  # nothing there: nothing to do


def test_a_planted_symlink_is_not_followed(folders: Folders, tmp_path: Path) -> None:
    os.mkdir(tmp_path / "victim")
    write(str(tmp_path / "victim/file"), b"mine")
    os.symlink(tmp_path / "victim", f"{folders.target}/{STAGING}")
    with pytest.raises(FileSystemError) as caught, staging(folders.to):
        pytest.fail("a symlink was taken for the folder of temporary names")
    assert STAGING in caught.value.message
    assert caught.value.hint
    assert os.path.islink(f"{folders.target}/{STAGING}")
    assert os.listdir(tmp_path / "victim") == ["file"]


def test_a_file_in_the_way_is_not_removed(folders: Folders) -> None:
    write(f"{folders.target}/{STAGING}", b"mine")
    with pytest.raises(FileSystemError):
        sweep(folders.to)
    assert read(f"{folders.target}/{STAGING}") == b"mine"


def test_somebody_elses_folder_is_not_swept(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(f"{folders.target}/{STAGING}/0")
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(FileSystemError):
        sweep(folders.to)
    assert os.path.isdir(f"{folders.target}/{STAGING}/0")


def test_removing_a_tree_follows_no_symlink(folders: Folders) -> None:
    write(f"{folders.store}/a", b"mine")
    os.symlink(folders.store, f"{folders.target}/tree")
    with pytest.raises(NotADirectoryError):
        remove_tree(folders.to, "tree")
    assert os.listdir(folders.store) == ["a"]


def test_a_tree_goes_however_deep_it_is(folders: Folders) -> None:
    """Deeper than Python's calls, a process's open files, and what one path can name."""
    folder = os.dup(folders.to)
    for name in ("tree", *["folder"] * 1500):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(os.open("file", os.O_CREAT, 0o600, dir_fd=below))
        os.close(folder)
        folder = below
    os.close(folder)
    remove_tree(folders.to, "tree")
    assert not os.path.exists(f"{folders.target}/tree")


def test_links_that_lead_one_way_alone_are_refused(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """As out of a folder that fscrypt encrypts: a locked one takes the other side's files with it."""
    plain = os.link

    def link(source: str, name: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        if dst_dir_fd == folders.from_:
            raise OSError(errno.EXDEV, "refused")
        plain(source, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(reflinks, "clone_into", refuse(errno.EOPNOTSUPP))
    choice = (folders.from_, folders.store, folders.to)
    assert not can_hardlink(*choice)
    for wanted in (None, LinkMode.HARDLINK):
        with pytest.raises(FileSystemError, match="not from the environment"):
            choose_link_mode(wanted, *choice)
    assert os.listdir(folders.store) == os.listdir(folders.target) == []
