"""Bytecode headers are changed, copied and given to a pool only for the checked file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from pipm.core.reasons import Reason
from pipm.fs import bytecode_header
from pipm.fs.bytecode_header import (
    Header,
    copy_with_time,
    finish,
    give_bytecode,
    own_reason,
    patch_time,
)
from pipm.fs.share_file import LeaveAloneError, NewFile, give_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """The test's folder, open."""
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def pyc(mtime: int, size: int, *, flags: int = 0, body: bytes = b"code" * 100) -> bytes:
    numbers = b"".join(number.to_bytes(4, "little") for number in (flags, mtime & 0xFFFFFFFF, size))
    return b"\xcb\r\r\n" + numbers + body


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("old", [LONG_AGO, 0, 2**32 + 5])
def test_the_time_in_a_header(tmp_path: Path, folder: int, whole: bool, old: int) -> None:  # noqa: FBT001
    path = tmp_path / "a.pyc"
    path.write_bytes(pyc(old, 77))
    path.chmod(0o640)
    inode = path.stat().st_ino
    header = Header(mtime=400_000_000, old_mtime=old, source_size=77)
    before = patch_time(folder, "a.pyc", header, whole=whole)
    assert (before.st_ino, before.st_mode & 0o777) == (inode, 0o640)
    assert path.read_bytes() == pyc(400_000_000, 77)
    status = path.stat()
    assert (status.st_ino, status.st_mode & 0o777) == (inode, 0o640)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (pyc(LONG_AGO, 77), Header(5, LONG_AGO + 1, 77)),
        (pyc(LONG_AGO, 77), Header(5, LONG_AGO, 78)),
        (pyc(LONG_AGO, 77, flags=1), Header(5, LONG_AGO, 77)),
        (pyc(LONG_AGO, 77)[:12], Header(5, LONG_AGO, 77)),
        (b"", Header(5, LONG_AGO, 77)),
    ],
)
def test_a_header_that_is_not_what_was_checked(
    tmp_path: Path, folder: int, data: bytes, header: Header
) -> None:
    path = tmp_path / "a.pyc"
    path.write_bytes(data)
    before = path.stat()
    for whole in (True, False):
        with pytest.raises(LeaveAloneError):
            patch_time(folder, "a.pyc", header, whole=whole)
    assert path.read_bytes() == data
    assert (path.stat().st_mode, path.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_bytecode_that_others_have_is_not_patched(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "a.pyc"
    path.write_bytes(pyc(LONG_AGO, 77))
    header = Header(5, LONG_AGO, 77)
    os.link(path, tmp_path / "b.pyc")
    with pytest.raises(LeaveAloneError):
        patch_time(folder, "a.pyc", header, whole=False)
    os.symlink("a.pyc", tmp_path / "c.pyc")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        patch_time(folder, "c.pyc", header, whole=False)
    assert caught.value.errno == errno.ELOOP
    assert path.read_bytes() == pyc(LONG_AGO, 77)


def test_bytecode_that_was_replaced_meanwhile_is_not_given(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes a newer one between the check and the link: nobody looked at that."""
    (tmp_path / "pool").mkdir()
    pool = os.open(tmp_path / "pool", os.O_RDONLY)
    (tmp_path / "a.pyc").write_bytes(pyc(LONG_AGO, 77))
    (tmp_path / "newer").write_bytes(pyc(LONG_AGO + 9, 78))
    newer = os.stat(tmp_path / "newer")

    def late(new: NewFile, store: int, name: str) -> bool:
        os.rename(tmp_path / "newer", tmp_path / "a.pyc")
        return give_name(new, store, name)

    monkeypatch.setattr(bytecode_header, "give_name", late)
    with pytest.raises(LeaveAloneError) as caught:
        give_bytecode(NewFile(folder, "a.pyc"), pool, "stored", Header(5, LONG_AGO, 77), 0o444, whole=False)
    assert caught.value.reason is Reason.CHANGING
    assert os.listdir(tmp_path / "pool") == []
    now = os.stat(tmp_path / "a.pyc")
    assert (now.st_ino, now.st_mode, now.st_mtime_ns) == (newer.st_ino, newer.st_mode, newer.st_mtime_ns)
    os.close(pool)


def test_kinds_of_bytecode(tmp_path: Path, folder: int) -> None:
    (tmp_path / "time.pyc").write_bytes(pyc(LONG_AGO, 77))
    (tmp_path / "checked.pyc").write_bytes(pyc(LONG_AGO, 77, flags=3))
    (tmp_path / "unchecked.pyc").write_bytes(pyc(LONG_AGO, 77, flags=1))
    (tmp_path / "torn.pyc").write_bytes(b"\xcb\r")
    (tmp_path / "marked.pyc").write_bytes(pyc(LONG_AGO, 77))
    os.setxattr(tmp_path / "marked.pyc", "user.note", b"1")
    kinds = {path.stem: own_reason(folder, path.name) for path in tmp_path.iterdir()}
    assert kinds == {
        "time": None,
        "checked": Reason.OTHER_BYTECODE,
        "unchecked": Reason.OTHER_BYTECODE,
        "torn": Reason.OTHER_BYTECODE,
        "marked": Reason.ATTRIBUTES,
    }


@pytest.mark.parametrize(("old", "mode"), [(LONG_AGO, 0o644), (5, 0o444)])  # the second has the time already
def test_bytecode_is_given_with_mode_and_time(tmp_path: Path, folder: int, old: int, mode: int) -> None:
    (tmp_path / "pool").mkdir()
    path = tmp_path / "a.pyc"
    path.write_bytes(pyc(old, 77))
    path.chmod(mode)
    header, new = Header(5, old, 77), NewFile(folder, "a.pyc")
    before, given = give_bytecode(new, folder, "pool/a", header, 0o444, whole=False)
    assert (before.st_mode & 0o777, given) == (mode, True)
    status = (tmp_path / "pool/a").stat()
    assert (path.read_bytes(), status.st_mode & 0o777, status.st_mtime) == (pyc(5, 77), 0o444, 5)
    assert status.st_ino == path.stat().st_ino


def test_bytecode_with_attributes_is_not_given(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "a.pyc"
    path.write_bytes(pyc(LONG_AGO, 77))
    os.setxattr(path, "user.note", b"1")
    time = path.stat().st_mtime_ns
    with pytest.raises(LeaveAloneError):
        give_bytecode(NewFile(folder, "a.pyc"), folder, "b", Header(5, LONG_AGO, 77), 0o444, whole=False)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (pyc(LONG_AGO, 77), time)
    assert (path.stat().st_mode & 0o777, path.stat().st_nlink) == (0o644, 1)


def test_a_copy_of_bytecode_with_another_time(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "a.pyc"
    path.write_bytes(pyc(LONG_AGO, 77))
    os.link(path, tmp_path / "backup.pyc")
    before = path.stat()
    assert not copy_with_time(folder, "a.pyc", NewFile(folder, "no"), Header(5, LONG_AGO, 78), 0o444)
    assert copy_with_time(folder, "a.pyc", NewFile(folder, "new"), Header(5, LONG_AGO, 77), 0o444)
    assert (tmp_path / "new").read_bytes() == pyc(5, 77)
    assert (tmp_path / "new").stat().st_mtime == 5
    after = path.stat()
    assert path.read_bytes() == pyc(LONG_AGO, 77)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_finishing_bytecode(tmp_path: Path, folder: int) -> None:
    (tmp_path / "a.pyc").write_bytes(b"x")
    finish(folder, "a.pyc", 0o444, LONG_AGO)
    assert ((tmp_path / "a.pyc").stat().st_mode & 0o777, (tmp_path / "a.pyc").stat().st_mtime) == (
        0o444,
        LONG_AGO,
    )
