"""The test helpers themselves: each check is seen to fail once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.extents import clone, free_bytes, has_shared_extent, same_place
from support.process import check
from support.snapshot import changes, difference, fingerprint, snapshot, sources
from support.store import damage, object_path, unshared
from support.synthetic import import_all, install, make_environment, make_wheel, package, write

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk


def test_a_disk_is_what_its_name_says(filesystem: Disk) -> None:
    names = {"ext4": "ext2/ext3", "xfs": "xfs", "btrfs": "btrfs"}
    assert check("stat", "-f", "-c", "%T", filesystem.path).strip() == names[filesystem.kind]


def test_reflinks_are_seen_by_fiemap(filesystem: Disk) -> None:
    first, copy, link_identical = filesystem / "a", filesystem / "b", filesystem / "c"
    write(first, os.urandom(100_000))
    check("cp", "--reflink=never", first, copy)
    assert not same_place(first, copy)
    assert not has_shared_extent(first)
    if not filesystem.reflinks:
        with pytest.raises(OSError, match="not supported"):
            clone(first, link_identical)
        return
    clone(first, link_identical)
    assert same_place(first, link_identical)
    assert has_shared_extent(first)
    assert has_shared_extent(link_identical)


def test_free_space_follows_a_large_file(filesystem: Disk) -> None:
    size = 64 * 2**20
    before = free_bytes(filesystem.path)
    write(filesystem / "large", os.urandom(size))
    used = before - free_bytes(filesystem.path)
    assert abs(used - size) < size / 100
    os.unlink(filesystem / "large")
    assert abs(before - free_bytes(filesystem.path)) < size / 100


def test_a_snapshot_sees_each_kind_of_change(tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    for name in ("same", "content", "bits", "gone"):
        write(f"{tree}/{name}", b"first")
    os.symlink("same", f"{tree}/link")
    before = snapshot(tree)
    write(f"{tree}/content", b"other")
    os.chmod(f"{tree}/bits", 0o755)
    os.unlink(f"{tree}/gone")
    os.unlink(f"{tree}/link")
    os.symlink("bits", f"{tree}/link")
    write(f"{tree}/__pycache__/x.pyc", b"")
    seen = [line.split(":")[0] for line in difference(sources(before), sources(snapshot(tree)))]
    assert seen == ["bits", "content", "gone", "link"]


def test_a_fingerprint_sees_a_touch_and_a_new_inode(tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    for name in ("same", "touched", "replaced"):
        write(f"{tree}/{name}", b"first")
    before = fingerprint(tree)
    os.utime(f"{tree}/touched", (1, 1))
    write(f"{tree}/new", b"first")
    os.rename(f"{tree}/new", f"{tree}/replaced")
    seen = [line.split(":")[0] for line in changes(before, fingerprint(tree))]
    assert seen == ["replaced", "touched"]


def test_a_synthetic_environment_works(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    code = "import sys, alpha; from importlib.metadata import version, files; "
    code += "print(sys.prefix, version('alpha'), all(f.locate().exists() for f in files('alpha')))"
    assert environment.run(code).split() == [environment.path, "1.0", "True"]
    import_all(environment)
    write(environment.file("alpha/module_1.py"), b"1/0")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        import_all(environment)


def test_a_synthetic_wheel_is_installed_by_pip(tmp_path: Path) -> None:
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    target = str(tmp_path / "target")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-compile")
    check(*pip, "-t", target, wheel)
    installed = {name for name in snapshot(target) if not name.endswith("/REQUESTED")}
    assert set(package("alpha")) <= installed


def test_store_checks_see_damage(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", {"alpha.py": b"x = 1\n"})
    os.makedirs(f"{store}/v1/wheels")
    false = object_path(store, "ab" * 32)
    write(false, b"x = 1\n", mode=0o644)
    assert damage(store) == [f"{false.removeprefix(f'{store}/v1/objects/')}: content is not its name"]
    assert "alpha.py" in unshared(environment.site, store)
