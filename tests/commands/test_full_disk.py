"""Adopting on a disk without a free byte or inode: equal files are shared first."""

from __future__ import annotations

import os
import random
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support.pipm import Pipm
from support.snapshot import fingerprint, snapshot
from support.store import damage, unshared
from support.synthetic import import_all, install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.disks import Disk, Disks
    from support.synthetic import Environment

pytestmark = pytest.mark.mounts


def use_all_blocks(disk: Disk) -> None:
    """Write until not one byte more fits, into a file that is there."""
    for step in (1 << 20, 4096, 1):
        with suppress(OSError), open(disk / "filler", "ab", buffering=0) as file:
            while True:
                file.write(bytes(step))
        os.sync()


def use_all_inodes(disk: Disk) -> None:
    """Use every inode, then every block."""
    with suppress(OSError):
        for number in range(100_000):
            os.symlink("x", disk / f"links/{number}")
    assert os.statvfs(disk.path).f_ffree == 0
    use_all_blocks(disk)


def two_alike(disk: Disk) -> list[Environment]:
    """Two environments with the same large and small files, but other modes and times."""
    content = random.Random(1)
    files = package("alpha", modules=4)
    files |= {f"alpha/data/{number}.bin": content.randbytes(2 << 20) for number in range(4)}
    files |= {f"alpha/data/{number}.txt": content.randbytes(100) for number in range(600)}
    made = []
    for number in range(2):
        environment = make_environment(disk / f"env{number}")
        install(environment, "alpha==1.0", files)
        environment.compile()
        os.utime(environment.file("alpha/data/3.bin"), (1e9 + number, 1e9 + number))
        made.append(environment)
    os.mkdir(disk / "links")
    with open(disk / "filler", "wb"):
        return made


def but_inodes(rows: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Modes, times and contents, without bytecode."""
    return {path: row[1:] for path, row in rows.items() if "__pycache__" not in path}


def test_what_sharing_frees_counts_all_the_time(disks: Disks) -> None:
    """The store alone needs more than is free, but the second environment gives it back."""
    with disks.small("ext4", size="64M", name="nearly-full", options=("-N", "2600")) as disk:
        environments = two_alike(disk)
        status = os.statvfs(disk.path)
        with open(disk / "filler", "ab") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - (3 << 20))
        pipm = Pipm(store=disk / "store")
        pipm("adopt", *(environment.path for environment in environments)).expect()
        assert damage(pipm.store) == []


CASES = [
    pytest.param("ext4", ("-N", "2600"), use_all_blocks, id="ext4-blocks"),
    pytest.param("ext4", ("-N", "2600"), use_all_inodes, id="ext4-inodes"),
    pytest.param("xfs", (), use_all_blocks, id="xfs"),
    pytest.param("btrfs", (), use_all_blocks, id="btrfs"),
]


@pytest.mark.parametrize(("kind", "options", "use_up"), CASES)
def test_twins_make_room(
    disks: Disks, kind: str, options: tuple[str, ...], use_up: Callable[[Disk], None]
) -> None:
    size = "64M" if kind == "ext4" else "320M"
    with disks.small(kind, size=size, name=f"twins-{kind}", options=options) as disk:
        environments = two_alike(disk)
        before = [fingerprint(environment.path) for environment in environments]
        use_up(disk)
        pipm = Pipm(store=disk / "store")
        for words in (("list", disk.path), ("df",), ("gc", "--keep", "0")):
            pipm(*words).expect()
        done = pipm.adopt(*(environment.path for environment in environments))
        freed = sum(one["bytes_freed"] for one in done.json["environments"])
        assert freed > 6 << 20
        for environment in environments:
            assert unshared(environment.site, pipm.store) == []
            import_all(environment)
        assert damage(pipm.store) == []
        os.truncate(disk / "filler", 0)
        shutil.rmtree(disk / "links")
        os.sync()  # btrfs counts blocks as free after it wrote its log
        pipm("release", *(environment.path for environment in environments)).expect()
        for environment, earlier in zip(environments, before, strict=True):
            assert but_inodes(fingerprint(environment.path)) == but_inodes(earlier)


def test_too_little_to_begin_is_said_once(disks: Disks) -> None:
    with disks.small("ext4", size="64M", name="no-twins") as disk:
        environments = []
        for name in ("alpha", "beta"):
            environments.append(make_environment(disk / name))
            install(environments[-1], f"{name}==1.0", package(name, modules=4))
        with open(disk / "filler", "wb"):
            use_all_blocks(disk)
        before = snapshot(disk.path)
        told = Pipm(store=disk / "store")("adopt", *(one.path for one in environments)).expect(1)
        assert told.err.count("error:") == 1
        assert "it first needs up to 4.0 MiB and" in told.err
        assert re.search(r"\b0 B and", told.err), told.err
        assert snapshot(disk.path) == before


def test_files_edited_alike_are_no_twins(disks: Disks) -> None:
    """What two persons changed in the same way is theirs, as on a disk that has room."""
    with disks.small("ext4", size="64M", name="edited") as disk:
        environments = two_alike(disk)
        for environment in environments:
            with open(environment.file("alpha/data/0.bin"), "r+b") as file:
                file.write(b"mine")
        use_all_blocks(disk)
        Pipm(store=disk / "store")("adopt", *(one.path for one in environments))
        assert [os.stat(one.file("alpha/data/0.bin")).st_nlink for one in environments] == [1, 1]
