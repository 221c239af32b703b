"""The store on disk: making and opening it, roots, objects, bytecode, entries."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pipm.core.digest import Digest
from pipm.errors import BusyError, FileSystemError, StoreError
from pipm.fs import durability
from pipm.fs.flock import lock_timeout
from pipm.store.bytecode_pool import Pool
from pipm.store.layout import Store, open_store
from pipm.store.objects import ObjectFolders, find_object, is_trusted, object_mode
from pipm.store.paths import store_path
from pipm.store.roots import Root, all_roots, find_root, remove_root, root_name, write_root, write_roots

if TYPE_CHECKING:
    from pathlib import Path

A, B = Digest.of(b"a"), Digest.of(b"b")


def test_a_new_store(tmp_path: Path) -> None:
    path = str(tmp_path / "deep/store")
    assert open_store(path, create=False) is None
    assert not os.path.exists(path)
    made = open_store(path)
    assert made is not None
    assert sorted(os.listdir(path)) == ["CACHEDIR.TAG", "README.txt", "lock", "v1"]
    assert sorted(os.listdir(f"{path}/v1")) == ["by-wheel", "bytecode", "objects", "roots", "tmp", "wheels"]
    assert os.listdir(f"{path}/v1/objects") == []  # folders come with the first object of theirs
    for folder in (path, f"{path}/v1", f"{path}/v1/objects", f"{path}/v1/roots"):
        assert os.stat(folder).st_mode & 0o777 == 0o700
    with open(f"{path}/CACHEDIR.TAG", "rb") as stream:
        assert stream.read(43) == b"Signature: 8a477f597d28d172789f06886806bc55"


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077])
def test_a_new_store_is_ones_own_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        made = open_store(str(tmp_path / "store"))
    finally:
        os.umask(old)
    assert made is not None
    assert open_store(made.path) is made


def test_a_store_is_opened_once(tmp_path: Path) -> None:
    """Hundreds of environments in one run would use all descriptors up."""
    path = str(tmp_path / "store")
    first = open_store(path)
    before = len(os.listdir("/proc/self/fd"))
    assert all(open_store(path) is first for _ in range(50))
    assert len(os.listdir("/proc/self/fd")) == before
    os.rename(path, f"{path}-2")
    assert open_store(path) is not first
    moved = open_store(f"{path}-2")
    assert moved is not None
    assert moved.path == f"{path}-2"


def test_a_place_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError) as caught:
        open_store(str(tmp_path))
    assert "thesis.txt" in caught.value.message
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(StoreError, match="is not a folder"):
        open_store(str(tmp_path / "thesis.txt"))
    with pytest.raises(FileSystemError):
        open_store(str(tmp_path / "thesis.txt/store"))


@pytest.mark.parametrize("name", [".v1-0123456", ".v1-backup", ".v2-01234567", "v2"])
def test_names_like_the_stores_own(tmp_path: Path, name: str) -> None:
    os.mkdir(tmp_path / name)
    with pytest.raises(StoreError):
        open_store(str(tmp_path))
    assert os.listdir(tmp_path) == [name]


def test_a_first_run_that_was_killed(tmp_path: Path) -> None:
    os.makedirs(tmp_path / ".v1-01234567/objects/00")
    os.mkdir(tmp_path / "lost+found")
    (tmp_path / "README.txt").write_text("half")
    (tmp_path / "lock").touch()
    assert open_store(str(tmp_path)) is not None
    assert sorted(os.listdir(tmp_path)) == ["CACHEDIR.TAG", "README.txt", "lock", "lost+found", "v1"]


def test_many_first_runs_at_once(tmp_path: Path) -> None:
    """Each finds the other's unfinished store, or its v1, beside no strangers."""
    path = str(tmp_path / "store")
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def first_run() -> None:
        try:
            barrier.wait()
            open_store(path)
        except BaseException as error:  # noqa: BLE001 - it is told below
            failures.append(error)

    threads = [threading.Thread(target=first_run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(os.listdir(path)) == ["CACHEDIR.TAG", "README.txt", "lock", "v1"]


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_a_store_that_others_write_to(opened: Store, bits: int) -> None:
    os.chmod(f"{opened.path}/v1", bits)
    with pytest.raises(StoreError) as caught:
        open_store(opened.path)
    assert "Other users" in caught.value.message
    assert caught.value.hint == f"chmod -R go-w {opened.path}"
    os.chmod(f"{opened.path}/v1", 0o755)
    assert open_store(opened.path) is opened


def test_a_store_of_somebody_else(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(f"{opened.path}/v1", 12345, 12345)
    with pytest.raises(StoreError) as caught:
        open_store(opened.path)
    assert "another user" in caught.value.message
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert open_store(opened.path) is not None


def test_a_new_store_that_a_power_cut_took_apart_is_made_whole(opened: Store) -> None:
    for name in ("wheels", "by-wheel", "tmp"):
        os.rmdir(f"{opened.path}/v1/{name}")
    elsewhere = f"{opened.path}-elsewhere"  # this process has seen the other one whole
    os.rename(opened.path, elsewhere)
    assert open_store(elsewhere) is not None
    assert sorted(os.listdir(f"{elsewhere}/v1")) == [
        "by-wheel",
        "bytecode",
        "objects",
        "roots",
        "tmp",
        "wheels",
    ]


def test_a_damaged_store_is_explained(opened: Store) -> None:
    os.mkdir(f"{opened.path}/v1/wheels/demo")
    os.rename(f"{opened.path}/v1", f"{opened.path}/old")
    os.mkdir(f"{opened.path}/v1")
    os.rename(f"{opened.path}/old/wheels", f"{opened.path}/v1/wheels")
    with pytest.raises(FileSystemError) as caught:
        open_store(opened.path)
    assert opened.path in caught.value.message


def test_a_planted_symlink_is_no_store(tmp_path: Path, opened: Store) -> None:
    os.mkdir(tmp_path / "other")
    os.symlink(f"{opened.path}/v1", tmp_path / "other/v1")
    with pytest.raises(FileSystemError):
        open_store(str(tmp_path / "other"))


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PIPM_STORE", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert store_path(None) == str(tmp_path / ".local/share/pipm")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store_path(None) == str(tmp_path / "data/pipm")
    monkeypatch.setenv("PIPM_STORE", str(tmp_path / "mine"))
    assert store_path(None) == str(tmp_path / "mine")
    assert store_path("~/other") == str(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    os.symlink("real", tmp_path / "link")
    assert store_path("link/x/..") == str(tmp_path / "real")


@pytest.mark.parametrize(("text", "seconds"), [("", 300.0), ("0", 0.0), ("1.5", 1.5), ("1e3", 1000.0)])
def test_the_lock_timeout(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("PIPM_LOCK_TIMEOUT", text)
    assert lock_timeout() == seconds


@pytest.mark.parametrize("text", ["soon", "1 s", "nan", "1,5"])
def test_a_timeout_that_is_no_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PIPM_LOCK_TIMEOUT", text)
    with pytest.raises(StoreError) as caught:
        lock_timeout()
    assert repr(text) in caught.value.message
    assert caught.value.hint == "unset PIPM_LOCK_TIMEOUT"


def test_writers_share_and_a_collector_waits(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPM_LOCK_TIMEOUT", "0.05")
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with opened.writing(), opened.writing():
        pass
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", hold, f"{opened.path}/lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(BusyError, match=rf"The store is in use by process {child.pid} \("), opened.writing():
        pytest.fail("the lock was another's")
    child.communicate()


def test_a_runs_folder_comes_and_goes(opened: Store) -> None:
    tmp = f"{opened.path}/v1/tmp"
    with opened.run() as (folder, path), opened.run() as (_, other):
        assert os.path.samestat(os.fstat(folder), os.stat(path))
        assert {path, other} == {f"{tmp}/{name}" for name in os.listdir(tmp)}
        assert os.stat(path).st_mode & 0o777 == 0o700
        os.makedirs(f"{path}/deep/er")
    assert os.listdir(tmp) == []
    with pytest.raises(RuntimeError), opened.run() as (_, path):
        raise RuntimeError(path)
    assert os.listdir(tmp) == []


def test_only_dead_runs_are_swept(opened: Store) -> None:
    tmp = f"{opened.path}/v1/tmp"
    os.makedirs(f"{tmp}/run-dead/tree")
    os.mkdir(f"{tmp}/note")
    with opened.run() as (_, alive), opened.run():
        assert os.path.isdir(alive)
        assert not os.path.exists(f"{tmp}/run-dead")
    assert os.listdir(tmp) == ["note"]


def root(path: str, **changes: object) -> Root:
    fields: dict[str, object] = {
        "path": path,
        "device": 1,
        "inode": 2,
        "python": "3.12.1",
        "link_mode": "hardlink",
        "state": "adopted",
        "entries": ("a/1/x-1", "b/2/y-2"),
        "seen": 1.5,
    }
    return Root(**fields | changes)  # type: ignore[arg-type]


def test_roots_come_back(opened: Store) -> None:
    odd = os.fsdecode(b"/home/caf\xe9/env")
    roots = [root("/b"), root(odd), root("/a", entries=())]
    for one in roots:
        write_root(opened, one)
    assert list(all_roots(opened)) == sorted(roots, key=lambda one: one.path)
    assert find_root(opened, odd) == roots[1]
    assert find_root(opened, "/c") is None
    write_root(opened, roots[0]._replace(state="partly"))
    known = find_root(opened, "/b")
    assert known is not None
    assert known.state == "partly"
    remove_root(opened, "/b")
    remove_root(opened, "/b")
    assert find_root(opened, "/b") is None
    assert len(os.listdir(opened.roots)) == 2


def test_no_root_has_its_name_before_its_bytes_are_on_disk(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 and XFS may otherwise bring it back empty after a power cut."""
    steps: list[str] = []
    synced, rename = durability.sync_file_system, os.rename

    def syncing(file: int) -> None:
        steps.append("sync")
        synced(file)

    def renaming(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as os.rename is called
        steps.append("name")
        rename(*arguments, **options)

    monkeypatch.setattr(durability, "sync_file_system", syncing)
    monkeypatch.setattr(os, "rename", renaming)
    roots = [root("/a"), root("/b")]
    write_roots(opened, roots)
    assert steps == ["sync", "name", "name"]
    assert list(all_roots(opened)) == roots


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b'{"version": 2}',
        b'{"version": 1}',
        b'{"version": 1, "entries": 5}',
        b'{"version": 1, "entries": [], "path": "/a"}',
        b'{"version": 1, "entries": [], "strange": 1}',
    ],
)
def test_a_damaged_root_is_told(opened: Store, data: bytes) -> None:
    name = root_name("/a")
    with open(f"{opened.path}/v1/roots/{name}", "wb") as file:
        file.write(data)
    for look in (lambda: find_root(opened, "/a"), lambda: list(all_roots(opened))):
        with pytest.raises(StoreError) as caught:
            look()
        assert f"v1/roots/{name}" in caught.value.message
        assert caught.value.hint


def test_an_unfinished_root_is_none(opened: Store) -> None:
    with open(f"{opened.path}/v1/roots/.{root_name('/a')}.0123", "wb") as file:
        file.write(b"torn")
    assert list(all_roots(opened)) == []


def test_objects(opened: Store) -> None:
    name = A.object_name(executable=False)
    assert find_object(opened.objects, name) is None
    ObjectFolders(opened.objects).make(name)
    ObjectFolders(opened.objects).make(name)  # another process's, too
    path = f"{opened.path}/v1/objects/{name}"
    with open(path, "wb") as file:
        file.write(b"a")
    status = find_object(opened.objects, name)
    assert status is not None
    assert is_trusted(status)
    assert (object_mode(executable=False), object_mode(executable=True)) == (0o444, 0o555)
    modes = (object_mode(executable=False, writable=True), object_mode(executable=True, writable=True))
    assert modes == (0o644, 0o755)


@pytest.mark.parametrize(("mode", "owner", "sound"), [(stat.S_IFREG, 0, True), (stat.S_IFREG, 4242, False)])
def test_whose_objects_are_trusted(mode: int, owner: int, sound: bool) -> None:  # noqa: FBT001
    status = os.stat_result((mode | 0o444, 1, 1, 1, owner, 0, 1, 5, 5, 5))
    assert is_trusted(status) is sound
    assert not is_trusted(os.stat_result((stat.S_IFLNK | 0o777, *status[1:])))


def test_the_pool_of_bytecode(opened: Store) -> None:
    pool = Pool(folder=opened.bytecode, interpreter="cpython-312-3531")
    assert pool.find(A, 5) is None
    pool.make_room(A)
    pool.make_room(A)
    Pool(folder=opened.bytecode, interpreter="cpython-312-3531").make_room(A)
    path = f"{opened.path}/v1/bytecode/{pool.name(A, 5)}"
    with open(path, "wb") as file:
        file.write(b"pyc")
    assert pool.find(A, 5) is None  # it has another time than the source would have
    os.utime(path, (5, 5))
    found = pool.find(A, 5)
    assert found is not None
    assert found.st_ino == os.stat(path).st_ino
    assert len({pool.name(A, 5), pool.name(B, 5), pool.name(A, 6)}) == 3
