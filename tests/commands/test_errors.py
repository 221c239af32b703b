"""Errors name the fault, the reason and the remedy; exit codes are right; nothing changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import PARTLY, USAGE, Pipm, assert_refused, assert_says
from support.process import NORMAL_USER, check, needs_root
from support.snapshot import changes, fingerprint, snapshot
from support.store import damage, unshared
from support.synthetic import Environment, install, make_environment, make_wheel, package, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.disks import Disk, Disks


def with_alpha(path: str) -> Environment:
    """An environment with one distribution."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"))
    return environment


@pytest.mark.parametrize("command", ["adopt", "release"])
def test_a_path_that_is_not_there(tmp_path: Path, pipm: Pipm, command: str) -> None:
    path = str(tmp_path / "missing")
    assert_refused(pipm(command, path, "--json"), "missing")
    assert_says(pipm(command, path))
    assert not os.path.exists(path)
    assert not os.path.exists(pipm.store)


@pytest.mark.parametrize("command", ["adopt", "release"])
def test_a_folder_that_is_no_environment(tmp_path: Path, pipm: Pipm, command: str) -> None:
    write(str(tmp_path / "plain/file.py"), b"x = 1\n")
    before = fingerprint(str(tmp_path / "plain"))
    result = pipm(command, str(tmp_path / "plain"), "--json")
    assert_refused(result, "environment", "plain")
    assert_says(pipm(command, str(tmp_path / "plain")))
    assert changes(before, fingerprint(str(tmp_path / "plain"))) == []
    assert not os.path.exists(pipm.store)


def test_a_file_instead_of_a_folder(tmp_path: Path, pipm: Pipm) -> None:
    write(str(tmp_path / "file"), b"x")
    assert_refused(pipm("adopt", str(tmp_path / "file"), "--json"))


def test_one_wrong_environment_does_not_stop_the_others(tmp_path: Path, pipm: Pipm) -> None:
    first, last = with_alpha(str(tmp_path / "first")), with_alpha(str(tmp_path / "last"))
    missing = str(tmp_path / "missing")
    result = pipm("adopt", first.path, missing, last.path, "--json").expect(PARTLY)
    assert [row["path"] for row in result.json["environments"]] == [first.path, last.path]
    assert missing in result.error["message"]
    assert unshared(first.site, pipm.store) == unshared(last.site, pipm.store) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("adopt", "--no-such-option"),
        ("no-such-command",),
        ("adopt", "--link-mode", "magic", "env"),
        ("release", "--no-such-option"),
        ("store", "add"),
    ],
)
def test_wrong_usage(pipm: Pipm, arguments: tuple[str, ...]) -> None:
    result = pipm(*arguments).expect(USAGE)
    assert result.out == ""
    assert result.err
    assert not os.path.exists(pipm.store)


def test_all_below_a_folder_without_environments(tmp_path: Path, pipm: Pipm) -> None:
    os.mkdir(tmp_path / "empty")
    result = pipm("adopt", "--all", str(tmp_path / "empty"), "--json").expect()
    assert result.json["environments"] == []


def test_the_store_inside_the_environment(tmp_path: Path) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    before = fingerprint(environment.path)
    for place in ("store", "lib/store"):
        pipm = Pipm(store=f"{environment.path}/{place}")
        assert_refused(pipm("adopt", environment.path, "--json"), "store", code=USAGE)
        assert changes(before, fingerprint(environment.path)) == []


def test_the_environment_inside_the_store(store: str) -> None:
    environment = with_alpha(f"{store}/v1/env")
    before = fingerprint(environment.path)
    assert_refused(Pipm(store=store)("adopt", environment.path, "--json"), "store", code=USAGE)
    assert changes(before, fingerprint(environment.path)) == []


def test_a_store_path_that_is_a_file(tmp_path: Path) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    write(str(tmp_path / "file"), b"x")
    before = fingerprint(str(tmp_path))
    assert_refused(Pipm(store=str(tmp_path / "file"))("adopt", environment.path, "--json"), "store")
    assert changes(before, fingerprint(str(tmp_path))) == []


@pytest.mark.mounts
@pytest.mark.parametrize("mode", ["hardlink", "reflink"])
def test_another_file_system(disks: Disks, tmp_path: Path, mode: str) -> None:
    environment = with_alpha(disks.get("xfs") / f"other-{tmp_path.name}")
    pipm = Pipm(store=disks.get("btrfs") / f"store-{tmp_path.name}")
    before = fingerprint(environment.path)
    result = pipm("adopt", environment.path, "--link-mode", mode, "--json")
    assert_refused(result, "store", "file system")
    assert changes(before, fingerprint(environment.path)) == []


@pytest.mark.mounts
def test_another_file_system_is_served_by_the_finder(disks: Disks, tmp_path: Path) -> None:
    environment = with_alpha(disks.get("xfs") / f"served-{tmp_path.name}")
    pipm = Pipm(store=disks.get("btrfs") / f"serving-{tmp_path.name}")
    assert pipm.adopt(environment.path).environment["link_mode"] == "finder"
    assert environment.run("import alpha; print(alpha.__file__)").startswith(pipm.store)


@pytest.mark.mounts
def test_reflink_asked_for_where_there_is_none(disks: Disks, tmp_path: Path) -> None:
    disk = disks.get("ext4")
    environment = with_alpha(disk / f"no-reflink-{tmp_path.name}")
    before = fingerprint(environment.path)
    pipm = Pipm(store=disk / f"store-{tmp_path.name}")
    assert_refused(pipm("adopt", environment.path, "--link-mode", "reflink", "--json"), "reflink", "hardlink")
    assert changes(before, fingerprint(environment.path)) == []


def test_a_folder_that_a_normal_user_cannot_read(either_mode: Disk) -> None:
    needs_root()
    closed = either_mode / "closed"
    environment = with_alpha(f"{closed}/env")
    os.chmod(closed, 0o700)
    os.chmod(either_mode.path, 0o777)
    before = fingerprint(environment.path)
    pipm = Pipm(store=either_mode / "theirs/store", user=NORMAL_USER)
    assert_refused(pipm("adopt", environment.path, "--json"), environment.path)
    assert changes(before, fingerprint(environment.path)) == []


def test_an_unreadable_distribution(either_mode: Disk) -> None:
    """A normal user's environment holds a folder that somebody else closed."""
    needs_root()
    environment = with_alpha(either_mode / "env")
    install(environment, "beta==1.0", package("beta"))
    check("chown", "-Rh", str(NORMAL_USER), either_mode.path)
    os.chown(environment.file("beta"), 0, 0)
    os.chmod(environment.file("beta"), 0o700)
    before = snapshot(environment.path)
    pipm = Pipm(store=either_mode / "store", user=NORMAL_USER)
    result = pipm("adopt", environment.path, "--json").expect(1, 3)
    assert snapshot(environment.path) == before
    assert "beta" in (result.err if result.code == 1 else " ".join(result.left))


def test_somebody_elses_environment(filesystem: Disk) -> None:
    needs_root()
    environment = with_alpha(filesystem / "env")  # root's, readable by all
    os.chmod(filesystem.path, 0o777)
    before = fingerprint(environment.path)
    pipm = Pipm(store=filesystem / "theirs/store", user=NORMAL_USER)
    assert_refused(pipm("adopt", environment.path, "--json"), "own")
    assert changes(before, fingerprint(environment.path)) == []


@pytest.fixture(params=[pytest.param(k, marks=pytest.mark.mounts) for k in ("ext4", "xfs", "btrfs")])
def small_disk(request: pytest.FixtureRequest, disks: Disks, tmp_path: Path) -> Iterator[Disk]:
    """A small file system of the test's own."""
    with disks.small(request.param, size="400M", name=f"small-{tmp_path.name}") as disk:
        yield disk


def test_a_read_only_file_system(small_disk: Disk) -> None:
    environment = with_alpha(small_disk / "env")
    before = fingerprint(environment.path)
    check("mount", "-o", "remount,ro", small_disk.path)
    result = Pipm(store=small_disk / "store")("adopt", environment.path, "--json")
    assert_refused(result, "read-only")
    assert changes(before, fingerprint(environment.path)) == []


def fill(disk: Disk) -> None:
    """Write until not one byte more fits: first large steps, then small files."""
    for name, step in (("large", 1 << 20), ("small", 4096), ("byte", 1)):
        try:
            with open(disk / name, "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * step)
                    if step > 1:
                        os.fsync(file.fileno())
        except OSError:
            continue


def test_a_full_disk_without_a_store(small_disk: Disk) -> None:
    environment = with_alpha(small_disk / "env")
    before = snapshot(environment.path)
    fill(small_disk)
    result = Pipm(store=small_disk / "store")("adopt", environment.path, "--json")
    assert snapshot(environment.path) == before
    if result.code:
        assert_refused(result, "space")
    os.unlink(small_disk / "large")
    pipm = Pipm(store=small_disk / "store")
    pipm.adopt(environment.path)
    assert snapshot(environment.path) == before
    assert unshared(environment.site, pipm.store) == []


def test_a_full_disk_is_where_adopt_is_needed(small_disk: Disk) -> None:
    """Replacing needs no free block: a copy of what the store has gives its space back."""
    first, second = with_alpha(small_disk / "first"), with_alpha(small_disk / "second")
    pipm = Pipm(store=small_disk / "store")
    pipm.adopt(first.path)
    before = snapshot(second.path)
    fill(small_disk)
    result = pipm.adopt(second.path)
    assert snapshot(second.path) == before
    assert unshared(second.site, pipm.store) == []
    assert result.environment["bytes_freed"] > 0
    assert damage(pipm.store) == []


@pytest.mark.mounts
def test_a_read_only_store_is_named(tmp_path: Path, disks: Disks) -> None:
    """The environment lies elsewhere, where one can write."""
    with disks.small("ext4", size="64M", name="locked") as disk:
        pipm = Pipm(store=disk / "store", environ={"PIP_NO_INDEX": "1"})
        wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
        pipm("store", "ls").expect()
        pipm("store", "add", make_wheel(str(tmp_path), "beta==1.0", package("beta"))).expect()
        check("mount", "-o", "remount,ro", disk.path)
        for words in (
            ("store", "add", wheel),
            ("sync", pylock(str(tmp_path), [wheel]), "--env", f"{tmp_path}/env", "--link-mode", "copy"),
        ):
            assert_refused(pipm(*words, "--json"), pipm.store, "Read-only")
        check("mount", "-o", "remount,rw", disk.path)
