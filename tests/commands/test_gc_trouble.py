"""gc on a full disk, and with files that cannot be removed."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.extents import free_bytes
from support.pipm import PARTLY, Pipm
from support.process import check
from support.snapshot import file_digest, snapshot
from support.store import damage, entry_names, object_path
from support.synthetic import Environment, import_all, install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.disks import Disk, Disks

pytestmark = pytest.mark.mounts


@pytest.fixture
def tiny(disks: Disks) -> Iterator[Disk]:
    """An ext4 of its own with few blocks and few inodes."""
    with disks.small("ext4", size="64M", name="tiny", options=("-N", "1024")) as disk:
        yield disk


def two_adopted(disk: Disk) -> tuple[Pipm, Environment, Environment]:
    """Two environments, each with a distribution of its own and a common one."""
    made = []
    for name, own in (("a", "beta"), ("b", "gamma")):
        environment = make_environment(disk / name)
        for distribution in ("alpha", own):
            install(environment, f"{distribution}==1.0", package(distribution, modules=4))
        environment.compile()
        made.append(environment)
    pipm = Pipm(store=disk / "store")
    pipm.adopt(*(environment.path for environment in made))
    return pipm, made[0], made[1]


def fill(disk: Disk) -> None:
    """Use every block."""
    for name, step in (("blocks", 1 << 20), ("rest", 1 << 10)):
        with contextlib.suppress(OSError), open(disk / name, "wb", buffering=0) as file:
            while True:
                file.write(bytes(step))
        os.sync()
    with pytest.raises(OSError, match="No space left"):
        os.mkdir(disk / "more")


def use_all_inodes(disk: Disk) -> None:
    """Use every inode."""
    os.mkdir(disk / "inodes")
    with contextlib.suppress(OSError):
        for number in range(100_000):
            os.close(os.open(disk / f"inodes/{number}", os.O_CREAT | os.O_WRONLY))
    assert os.statvfs(disk.path).f_ffree == 0


@pytest.mark.parametrize("use_up", [fill, use_all_inodes])
def test_a_full_disk_is_cleared(tiny: Disk, use_up: object) -> None:
    pipm, first, second = two_adopted(tiny)
    shutil.rmtree(first.path)
    before = snapshot(second.path)
    assert callable(use_up)
    use_up(tiny)
    free = free_bytes(tiny.path)
    done = pipm("gc", "--keep", "0", "--json").expect().json
    assert done["entries_removed"] == 1
    assert 0 < done["bytes_freed"] <= free_bytes(tiny.path) - free
    assert {name.split("/")[0] for name in entry_names(pipm.store)} == {"alpha", "gamma"}
    assert damage(pipm.store) == []
    assert snapshot(second.path) == before
    import_all(second)


def test_an_immutable_file_stops_nothing_else(disks: Disks) -> None:
    with disks.small("ext4", size="64M", name="immutable") as disk:
        pipm, first, second = two_adopted(disk)
        kept = object_path(pipm.store, file_digest(first.file("beta/module_1.py")))
        check("chattr", "+i", kept)
        try:
            shutil.rmtree(first.path, ignore_errors=True)
            assert os.path.exists(first.file("beta/module_1.py"))
            for _ in range(2):
                told = pipm("gc", "--keep", "0").expect(PARTLY)
                assert "Operation not permitted" in told.err
                assert "chattr -i" in told.err
                assert "/objects/" in told.err or "/tmp/" in told.err
                assert {name.split("/")[0] for name in entry_names(pipm.store)} == {"alpha", "gamma"}
            pipm("store", "ls").expect()
            pipm("adopt", second.path).expect()
        finally:
            check("chattr", "-i", kept)
        done = pipm("gc", "--keep", "0", "--json").expect().json
        assert done["stuck"] == []
        assert os.listdir(f"{pipm.store}/v1/tmp") == []
        assert damage(pipm.store) == []
