"""gc while disks of environments are mounted and unmounted, and after copies by other tools."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.disks import make_image, mounted
from support.pipm import Pipm
from support.process import check
from support.snapshot import snapshot, sources
from support.store import entry_names
from support.synthetic import Environment, import_all, install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

UNREACHABLE = "unreachable"


def gc(pipm: Pipm, *options: str) -> dict[str, object]:
    return pipm("gc", "--keep", "0", "--json", *options).expect().json


def test_what_tar_restored_is_known(tmp_path: Path) -> None:
    """Store and environment in one archive: the links are there again, on other inodes."""
    home = tmp_path / "home"
    environment = make_environment(str(home / "a"))
    install(environment, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=str(home / "store"))
    pipm.adopt(environment.path, mode="hardlink")
    check("tar", "-C", str(tmp_path), "-cf", str(tmp_path / "all.tar"), "home")
    os.rename(home, tmp_path / "old")  # so that the restored files are other inodes
    check("tar", "-C", str(tmp_path), "-xf", str(tmp_path / "all.tar"))
    (row,) = pipm("list", "--json").expect().json["environments"]
    assert row["state"] == "adopted"
    assert pipm("gc", "--keep", "0", "--json").expect().json["entries_removed"] == 0
    pipm("verify", "--full").expect()
    assert pipm.adopt(environment.path).environment["files_shared"] == 0


@pytest.mark.parametrize("mode", ["finder", "symlink"])
def test_an_unmounted_disk_keeps_what_it_reads(filesystem: Disk, mode: str) -> None:
    """The environment is on another disk and reads the store's own files."""
    image, point = filesystem / "other.img", filesystem / "other"
    make_image("ext4", image, "64M")
    pipm = Pipm(store=filesystem / "store")
    environment = make_environment(os.path.join(filesystem / "kept", "env"))
    with mounted("ext4", image, point):
        shutil.move(environment.path, f"{point}/env")
        environment = Environment(path=f"{point}/env")
        install(environment, "alpha==1.0", package("alpha"))
        pipm.adopt(environment.path, mode=mode)
        kept = entry_names(pipm.store)
    assert os.listdir(point) == []
    done = gc(pipm)
    assert (done["entries_removed"], done["roots_dropped"]) == (0, [])
    assert done["missing"] == [{"path": environment.path, "state": UNREACHABLE}]
    with mounted("ext4", image, point):
        assert (gc(pipm)["missing"], entry_names(pipm.store)) == ([], kept)
        import_all(environment)
        check(environment.python, "-c", "import alpha.module_1", cwd=environment.path)
    assert gc(pipm, "--forget", environment.path)["roots_dropped"] == [environment.path]
    assert entry_names(pipm.store) == set()


def test_what_a_bind_mount_showed_lives_on(either_mode: Disk) -> None:
    """Where it was there is an empty folder of the same disk: it counts as deleted, for `--keep` at least.

    ext4 does not link across mounts, so there the finder serves it; reflinks are its own, and need no store.
    """
    point = either_mode / "point"
    os.mkdir(either_mode / "real")
    os.mkdir(point)
    pipm = Pipm(store=either_mode / "store")
    environment = Environment(path=f"{point}/env")
    check("mount", "--bind", either_mode / "real", point)
    try:
        make_environment(environment.path)
        install(environment, "alpha==1.0", package("alpha"))
        mode = pipm.adopt(environment.path).environment["link_mode"]
        assert mode == ("reflink" if either_mode.reflinks else "finder")
        before = snapshot(environment.path)
    finally:
        check("umount", point)
    if either_mode.reflinks:
        assert gc(pipm)["roots_dropped"] == [environment.path]
        assert entry_names(pipm.store) == set()
    else:
        done = pipm("gc", "--json").expect().json
        assert (done["roots_dropped"], done["entries_removed"]) == ([], 0)
    check("mount", "--bind", either_mode / "real", point)
    try:
        assert snapshot(environment.path) == before
        check(environment.python, "-c", "import alpha.module_1", cwd=environment.path)
        pipm.adopt(environment.path)
        assert gc(pipm)["entries_removed"] == 0
        assert len(entry_names(pipm.store)) == 1
    finally:
        check("umount", point)


@pytest.mark.parametrize("options", [("-a",), ("-aH", "--inplace")])
def test_what_rsync_copied_lives_on(either_mode: Disk, options: tuple[str, ...]) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("no rsync")
    first = make_environment(either_mode / "a")
    install(first, "alpha==1.0", package("alpha"))
    before = snapshot(first.path)
    pipm = Pipm(store=either_mode / "store")
    pipm.adopt(first.path)
    check("rsync", *options, f"{first.path}/", either_mode / "copy")
    shutil.rmtree(first.path)
    gc(pipm)
    assert entry_names(pipm.store) == set()
    assert sources(snapshot(either_mode / "copy")) == sources(before)
    import_all(Environment(path=either_mode / "copy"))
    # Adopted, the copy is a source like every other tree.
    pipm.adopt(either_mode / "copy")
    check("rsync", *options, f"{either_mode / 'copy'}/", either_mode / "mirror")
    assert sources(snapshot(either_mode / "mirror")) == sources(before)
