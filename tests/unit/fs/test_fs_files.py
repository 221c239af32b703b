"""Whole files: durable writes, comparing and hashing, trees of links."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest
from pipm.core.digest import Digest
from pipm.core.reasons import Reason
from pipm.errors import FileSystemError
from pipm.fs import file_content, folder_time
from pipm.fs.durability import sync_file_system, write_durably
from pipm.fs.file_content import digest_file, prefetch, read_all, same_bytes
from pipm.fs.folder_time import same_folder_time
from pipm.fs.link_modes import LinkMode
from pipm.fs.os_errors import explain_os_error, stops_everything
from pipm.fs.share_file import (
    LeaveAloneError,
    NewFile,
    Stored,
    give_inode,
    give_name,
    left_alone,
    open_leased,
    second_inode,
    write_new_file,
)
from pipm.fs.staging import Staging
from pipm.fs.tree_builder import TreeBuilder
from pipm.fs.walk_tree import names_in
from support.synthetic import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.disks import Disk

CHUNK = file_content._CHUNK
WHOLE = file_content._WHOLE
LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """The test's folder, open."""
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def failing(number: int) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_writing_durably(tmp_path: Path, folder: int) -> None:
    write_durably(folder, "root", b"one")
    write_durably(folder, "root", b"two")
    assert os.listdir(tmp_path) == ["root"]
    assert (tmp_path / "root").read_bytes() == b"two"
    assert os.stat(tmp_path / "root").st_mode & 0o777 == 0o600


def test_a_symlink_is_replaced_not_followed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    os.symlink("victim", tmp_path / "root")
    write_durably(folder, "root", b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not os.path.islink(tmp_path / "root")


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_durably(folder, "root", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            write_durably(folder, "root", b"new")
    assert os.listdir(tmp_path) == ["root"]
    assert (tmp_path / "root").read_bytes() == b"old"


def test_syncing_tells_of_failure(folder: int) -> None:
    sync_file_system(folder)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        sync_file_system(10_000)
    assert caught.value.errno == errno.EBADF


BORDERS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, WHOLE, WHOLE + 1]


@pytest.mark.parametrize("size", BORDERS)
def test_comparing_and_hashing_at_the_borders(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    changed = {place: bytearray(data) for place in {0, CHUNK - 1, CHUNK, size - 1} if 0 <= place < size}
    for place, other in changed.items():
        other[place] ^= 1
    others = [data, *(bytes(other) for other in changed.values()), data[:-1] if data else b"x", data + b"x"]
    (tmp_path / "one").write_bytes(data)
    for number, content_ in enumerate(others):
        (tmp_path / "two").write_bytes(content_)
        with open(tmp_path / "one", "rb") as one, open(tmp_path / "two", "rb") as two:
            assert same_bytes(one.fileno(), two.fileno(), size) == (number == 0)
    with open(tmp_path / "one", "rb") as one:
        assert digest_file(one.fileno(), size) == Digest.of(data)
    with open(tmp_path / "one", "rb") as one:
        assert read_all(one.fileno(), size) == data


@pytest.mark.parametrize(("real", "said"), [(10, 3), (10, 0), (3, 10), (2 * CHUNK, 5)])
def test_a_size_that_is_no_longer_true(tmp_path: Path, real: int, said: int) -> None:
    data = random.Random(1).randbytes(real)
    (tmp_path / "one").write_bytes(data)
    with open(tmp_path / "one", "rb") as one:
        assert digest_file(one.fileno(), said) == Digest.of(data)


def test_prefetching_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * (2 * CHUNK))
    with open(tmp_path / "one", "rb") as one:
        before = os.fstat(one.fileno())
        folder = os.open(tmp_path, os.O_RDONLY)
        prefetch(folder, ["one", "gone"])
        os.close(folder)
        assert os.fstat(one.fileno()) == before


def test_faults_of_one_file_and_of_all() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        error = OSError(number, os.strerror(number))
        assert stops_everything(error)
        told = explain_os_error(error, "write to the store")
        assert isinstance(told, FileSystemError)
        assert told.message == f"Cannot write to the store: {os.strerror(number)}"
        assert told.hint
        with pytest.raises(OSError) as caught:  # noqa: PT011 - it is looked at
            left_alone(error)
        assert caught.value is error
    assert left_alone(OSError(errno.EMLINK, "")).reason is Reason.NO_LINK
    assert left_alone(OSError(errno.EACCES, "")).reason is Reason.UNREADABLE
    assert left_alone(OSError(errno.EPERM, "")).reason is Reason.PROTECTED
    assert explain_os_error(OSError("no number"), "do it").message == "Cannot do it: no number"


def test_new_files_have_the_time_that_is_named(tmp_path: Path, folder: int) -> None:
    old = os.umask(0o077)
    try:
        digest, size = write_new_file(NewFile(folder, "new"), [b"con", b"", b"tent"], 0o555, 5_000_000_001)
    finally:
        os.umask(old)
    assert (digest, size) == (Digest.of(b"content"), 7)
    status = os.stat(tmp_path / "new")
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o555, 5_000_000_001)
    assert give_name(NewFile(folder, "new"), folder, "object")
    assert not give_name(NewFile(folder, "new"), folder, "object")
    with pytest.raises(FileExistsError):
        write_new_file(NewFile(folder, "new"), [b"other"], 0o444)
    assert (tmp_path / "object").read_bytes() == b"content"


def test_the_store_takes_an_inode(tmp_path: Path, folder: int) -> None:
    os.mkdir(tmp_path / "store")
    store = os.open(tmp_path / "store", os.O_RDONLY)
    (tmp_path / "a").write_bytes(b"content")
    guarded = open_leased(folder, "a", os.stat(tmp_path / "a").st_ino)
    assert guarded.unchanged()
    time = os.stat(tmp_path / "a").st_mtime_ns
    assert give_inode(guarded, store, "object", 0o444) == (0o444, time)
    assert give_inode(guarded, store, "object", 0o444) is None
    status = os.stat(tmp_path / "store/object")
    assert os.path.samefile(tmp_path / "store/object", tmp_path / "a")
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o444, time)
    # The name goes to another file between open and link.
    (tmp_path / "b").write_bytes(b"evil")
    os.rename(tmp_path / "b", tmp_path / "a")
    with pytest.raises(LeaveAloneError) as caught:
        give_inode(guarded, store, "other", 0o444)
    assert caught.value.reason is Reason.CHANGING
    assert os.listdir(tmp_path / "store") == ["object"]
    os.close(guarded.file)
    os.close(store)


def test_an_inode_with_another_name_stays_as_it_is(tmp_path: Path, folder: int) -> None:
    os.mkdir(tmp_path / "store")
    store = os.open(tmp_path / "store", os.O_RDONLY)
    (tmp_path / "a").write_bytes(b"content")
    os.chmod(tmp_path / "a", 0o664)
    os.link(tmp_path / "a", tmp_path / "backup")
    before = os.stat(tmp_path / "a")
    guarded = open_leased(folder, "a", before.st_ino)
    assert give_inode(guarded, store, "object", 0o444) == (0o664, before.st_mtime_ns)
    with pytest.raises(LeaveAloneError):
        second_inode(guarded, NewFile(store, "new"), Stored(0o444, 5), link=True)
    after = os.stat(tmp_path / "store/object")
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    os.close(guarded.file)
    os.close(store)


def test_a_run_that_was_killed_after_the_link_is_finished(tmp_path: Path, folder: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "a").write_bytes(b"x = 1\n")
    (tmp_path / "a").chmod(0o644)
    store = os.open(tmp_path / "store", os.O_RDONLY)
    source = open_leased(folder, "a", os.stat(tmp_path / "a").st_ino)
    os.link(tmp_path / "a", tmp_path / "store/object")
    assert give_inode(source, store, "object", 0o444) is None
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o444
    # With a third name it is an entry's, or a foreign one: nothing is owed to it.
    os.chmod(tmp_path / "a", 0o644)
    os.link(tmp_path / "a", tmp_path / "backup")
    assert give_inode(source, store, "object", 0o444) is None
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o644
    os.close(source.file)
    os.close(store)


@pytest.mark.parametrize("name", ["added.py", "replaced.py", "ours"])
def test_the_time_of_a_folder_tells_of_names_that_came(filesystem: Disk, name: str) -> None:
    write(filesystem / "replaced.py", b"x = 1")
    os.utime(filesystem.path, (LONG_AGO, LONG_AGO))
    directory = os.open(filesystem.path, os.O_RDONLY)
    with same_folder_time(directory, "ours"):
        os.mkdir(filesystem / "temporary")
        write(filesystem / "temporary/new", b"x = 2")
        os.rename(filesystem / "temporary/new", filesystem / name)
        os.rmdir(filesystem / "temporary")
    os.close(directory)
    assert (os.stat(filesystem.path).st_mtime == LONG_AGO) == (name != "added.py")


@pytest.mark.parametrize(("moves", "added"), [(True, False), (True, True), (False, False)])
def test_a_folder_is_listed_only_where_something_is_moved_into_it(
    filesystem: Disk, monkeypatch: pytest.MonkeyPatch, *, moves: bool, added: bool
) -> None:
    listed: list[int] = []

    def listing(one: int) -> list[str]:
        listed.append(one)
        return names_in(one)

    monkeypatch.setattr(folder_time, "names_in", listing)
    write(filesystem / "package/module.py", b"x = 1")
    write(filesystem / "new.py", b"x = 2")
    os.utime(filesystem / "package", (LONG_AGO, LONG_AGO))
    top = os.open(filesystem.path, os.O_RDONLY)
    directory = os.open(filesystem / "package", os.O_RDONLY)
    area = Staging(top, "area")
    with area.keeping_time(directory):
        if moves:
            area.put(LinkMode.HARDLINK, top, "new.py", directory, "module.py")
        if added:
            write(filesystem / "package/added.py", b"")
    area.close()
    os.close(directory)
    os.close(top)
    assert (os.stat(filesystem / "package").st_mtime == LONG_AGO) == (not added)
    assert listed == [directory] * (2 * moves)


def test_what_is_not_opened_for_sharing(tmp_path: Path, folder: int) -> None:
    (tmp_path / "a").write_bytes(b"content")
    inode = os.stat(tmp_path / "a").st_ino
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LeaveAloneError) as caught:
        open_leased(folder, "a", inode + 1)
    assert caught.value.reason is Reason.CHANGING
    with open(tmp_path / "a", "r+b"), pytest.raises(LeaveAloneError) as caught:
        open_leased(folder, "a", inode)
    assert caught.value.reason is Reason.OPEN
    os.setxattr(tmp_path / "a", "user.note", b"mine")
    with pytest.raises(LeaveAloneError) as caught:
        open_leased(folder, "a", inode)
    assert caught.value.reason is Reason.ATTRIBUTES
    os.symlink("a", tmp_path / "link")
    with pytest.raises(OSError) as error:  # noqa: PT011 - its number is looked at
        open_leased(folder, "link", inode)
    assert left_alone(error.value).reason is Reason.SYMLINK
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tree_of_links(tmp_path: Path, folder: int) -> None:
    (tmp_path / "object").write_bytes(b"content")
    old = os.umask(0o077)
    try:
        builder = TreeBuilder(folder, "tree")
        builder.link(folder, "object", "site/a/b.py")
        builder.link(folder, "object", "site/a/c.py")
        builder.empty("site/a/__init__.py", 0o444, 7_000_000_001)
        builder.empty("site/tool", 0o555, 7_000_000_001)
        builder.write("manifest.json", b"{}")
    finally:
        os.umask(old)
    assert builder.inodes == 1 + 2 + 2 + 1  # the tree, two folders, two empty files, the manifest
    found = {
        os.path.relpath(os.path.join(base, name), tmp_path / "tree")
        for base, _, names in os.walk(tmp_path / "tree")
        for name in names
    }
    assert found == {"manifest.json", "site/a/__init__.py", "site/a/b.py", "site/a/c.py", "site/tool"}
    assert os.path.samefile(tmp_path / "tree/site/a/b.py", tmp_path / "object")
    status = os.stat(tmp_path / "tree/site/a/__init__.py")
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o444, 7_000_000_001)
    assert os.stat(tmp_path / "tree/site/tool").st_mode & 0o777 == 0o555
    assert os.stat(tmp_path / "tree/site").st_mode & 0o777 == 0o700
    folders = [tmp_path / "tree", tmp_path / "tree/site", tmp_path / "tree/site/a"]
    assert builder.blocks() == sum(os.stat(path).st_blocks * 512 for path in folders) + 4096


def test_a_tree_needs_what_it_links(tmp_path: Path, folder: int) -> None:
    builder = TreeBuilder(folder, "tree")
    with pytest.raises(FileNotFoundError):
        builder.link(folder, "none", "site/a.py")
    assert os.listdir(tmp_path / "tree/site") == []
    with pytest.raises(FileExistsError):
        TreeBuilder(folder, "tree")
