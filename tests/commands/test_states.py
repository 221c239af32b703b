"""The comparison of states detects each kind of change."""

from __future__ import annotations

import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.extents import clone
from support.states import below, differences, foreign_differences, states
from support.synthetic import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.disks import Disk

_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, number)
    for tag, permissions, number in (
        (1, 6, 0xFFFFFFFF),
        (2, 4, 12345),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 4, 0xFFFFFFFF),
    )
)
"""user::rw- user:12345:r-- group::r-- mask::r-- other::r--"""
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def _hole(path: str) -> None:
    subprocess.run(["fallocate", "--punch-hole", "-o", "65536", "-l", "65536", path], check=True)


CHANGES: dict[str, tuple[Callable[[str], object], str]] = {
    "mode": (lambda path: os.chmod(path, 0o600), "mode"),
    "owner": (lambda path: os.chown(path, 12345, -1), "owner"),
    "group": (lambda path: os.chown(path, -1, 12345), "owner"),
    "attribute": (lambda path: os.setxattr(path, "user.note", b"keep"), "xattrs"),
    "capability": (lambda path: os.setxattr(path, "security.capability", _CAPABILITY), "xattrs"),
    "acl": (lambda path: os.setxattr(path, "system.posix_acl_access", _ACL), "xattrs"),
    "flag": (lambda path: subprocess.run(["chattr", "+d", path], check=True), "flags"),
    "link": (lambda path: os.link(path, f"{path}.other"), "links"),
    "hole": (_hole, "data"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(filesystem: Disk, change: str) -> None:
    path = filesystem / "tree/file"
    write(path, b"\0" * 65536 * 4)
    do, field = CHANGES[change]
    before = states(filesystem / "tree")
    do(path)
    os.utime(path, ns=(0, before["file"].mtime))  # a change that shows though its time was put back
    after = states(filesystem / "tree")
    assert any(line.startswith(f"file: {field}:") for line in differences(before, after))
    assert not any(line.startswith("file: mtime:") for line in differences(before, after))


def test_times_content_and_names_are_seen(filesystem: Disk) -> None:
    for name in ("first", "second", "third"):
        write(filesystem / f"tree/{name}", name.encode())
    os.symlink("first", filesystem / "tree/link")
    before = states(filesystem / "tree")
    assert differences(before, states(filesystem / "tree")) == []
    os.utime(filesystem / "tree/first", ns=(0, before["first"].mtime + 1))
    with open(filesystem / "tree/second", "r+b") as file:
        file.write(b"S")
    os.utime(filesystem / "tree/second", ns=(0, before["second"].mtime))
    os.rename(filesystem / "tree/third", filesystem / "tree/fourth")
    os.unlink(filesystem / "tree/link")
    os.symlink("second", filesystem / "tree/link")
    ignored = {"ctime", "identity", "extents"}
    found = {line.split(" → ")[0] for line in differences(before, states(filesystem / "tree"), ignored)}
    assert {line.rsplit(": ", 1)[0] for line in found if ".: " not in line} >= {
        "first: mtime",
        "second: digest",
        "link: target",
    }
    assert {"third: gone", "fourth: new"} <= found
    assert any(line.startswith(".: mtime") for line in found)


def test_a_move_of_the_bytes_is_seen(filesystem: Disk) -> None:
    if not filesystem.reflinks:
        pytest.skip("bytes stay where they are without reflinks")
    for name in ("file", "twin"):
        write(filesystem / f"tree/{name}", b"x" * 70_000)
    before = states(filesystem / "tree")
    clone(filesystem / "tree/twin", filesystem / "tree/file")
    os.utime(filesystem / "tree/file", ns=(0, before["file"].mtime))
    (line,) = differences(before, states(filesystem / "tree"), {"ctime"})
    assert line.startswith("file: extents")


def test_only_the_counts_of_inodes_that_are_shared_may_change(filesystem: Disk) -> None:
    write(filesystem / "tree/own/file", b"1" * 5000)
    write(filesystem / "tree/store/object", b"2" * 5000)
    write(filesystem / "tree/away/free", b"3" * 5000)
    os.link(filesystem / "tree/own/file", filesystem / "tree/away/linked")
    before = states(filesystem / "tree")
    own = ("own", "store")
    os.unlink(filesystem / "tree/own/file")
    assert foreign_differences(before, states(filesystem / "tree"), *own) == []
    assert set(below(before, *own)) == {"own", "own/file", "store", "store/object"}
    os.chmod(filesystem / "tree/away/linked", 0o444)
    found = foreign_differences(before, states(filesystem / "tree"), *own)
    assert found == ["away/linked: mode: 644 → 444"]
    os.chmod(filesystem / "tree/away/linked", 0o644)
    os.link(filesystem / "tree/away/free", filesystem / "tree/store/stolen")
    found = foreign_differences(before, states(filesystem / "tree"), *own)
    assert [line.split(" → ")[0].rsplit(": ", 1)[0] for line in found] == [
        "away/free: links",
        "away/free: ctime",
    ]
    os.unlink(filesystem / "tree/store/stolen")
    write(filesystem / "tree/away/new", b"4")
    found = foreign_differences(before, states(filesystem / "tree"), *own)
    assert "away/new: new" in found
