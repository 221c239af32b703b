"""The effects of adopt on ordinary environments, on each file system."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from pipm.adopt.adopt import adopt_together
from pipm.context.progress import Progress
from pipm.fs import share_file
from pipm.fs.file_content import digest_file
from pipm.fs.link_modes import LinkMode
from pipm.fs.reflinks import dedupe
from pipm.share import file_sharer, stored_content
from pipm.share.adoption import Adoption, AdoptOptions
from support.pipm import Pipm
from support.snapshot import changes, file_digest, fingerprint, snapshot
from support.store import damage, entry_names, in_store, object_path, root_count, unshared
from support.synthetic import (
    Environment,
    import_all,
    install,
    make_environment,
    make_wheel,
    package,
    write,
)

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from support.disks import Disk

LARGE = bytes(range(256)) * 5000
"""Too large for the way in which most files are linked."""
ROW = {
    "path",
    "python",
    "link_mode",
    "distributions",
    "files",
    "files_shared",
    "files_already_shared",
    "files_left",
    "bytes_shared",
    "bytes_freed",
    "seconds",
}


def two_environments(disk: Disk) -> tuple[Environment, Environment]:
    """Two environments that share one distribution, with one more in the second."""
    first, second = make_environment(disk / "first"), make_environment(disk / "second")
    for environment in (first, second):
        install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    install(second, "beta==2.0", package("beta"))
    return first, second


def test_files_are_kept_and_shared(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path), snapshot(second.path)
    result = pipm.adopt(first.path, second.path)
    assert (snapshot(first.path), snapshot(second.path)) == before
    assert unshared(first.site, pipm.store) == []
    assert unshared(second.site, pipm.store) == []
    assert {row["link_mode"] for row in result.json["environments"]} == {filesystem.link_mode}
    assert damage(pipm.store) == []
    assert root_count(pipm.store) == 2
    assert [name.split("-")[0] for name in sorted(entry_names(pipm.store))] == [
        "alpha/1.0/py3",
        "beta/2.0/py3",
    ]
    import_all(second)


def test_json_has_what_the_design_says(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    result = Pipm(store=filesystem / "store").adopt(first.path, second.path)
    assert result.json["version"] == 1
    assert result.json["command"] == "adopt"
    one, two = result.json["environments"]
    assert set(one) >= ROW
    assert (one["path"], two["path"]) == (first.path, second.path)
    assert (one["distributions"], two["distributions"]) == (1, 2)
    assert result.all_left == {}
    assert one["python"].startswith(f"{first.version}")
    assert 0 < one["files_shared"] <= one["files"] < two["files"]
    assert -800_000 < one["bytes_freed"] <= 0  # the only copy; the folders of the store and its reserve
    large = os.path.getsize(first.file("alpha/data/table.bin"))
    assert two["bytes_freed"] > large / 2


def test_modes_inodes_and_mtimes(filesystem: Disk) -> None:
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    names = ("alpha/__init__.py", "alpha/tool.sh", "alpha/data/table.bin")
    before = {name: os.stat(environment.file(name)) for name in names}
    Pipm(store=filesystem / "store").adopt(environment.path)
    for name in names:
        after = os.stat(environment.file(name))
        assert after.st_mtime_ns == before[name].st_mtime_ns, name
        mode = stat.S_IMODE(after.st_mode)
        if filesystem.reflinks:
            assert after.st_ino == before[name].st_ino, name
            assert mode == stat.S_IMODE(before[name].st_mode), name
        else:
            # What Python imports is read-only; what programs may copy as a template keeps its mode.
            assert mode == (0o444 if name.endswith(".py") else stat.S_IMODE(before[name].st_mode)), name


def test_an_executable_and_a_plain_file_of_one_content_stay_apart(filesystem: Disk) -> None:
    first, second = make_environment(filesystem / "first"), make_environment(filesystem / "second")
    files = {"alpha/run": b"#!/bin/sh\n" * 600}
    install(first, "alpha==1.0", files, executable=("alpha/run",))
    install(second, "alpha==1.0", files)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path)
    assert os.access(first.file("alpha/run"), os.X_OK)
    assert not os.stat(second.file("alpha/run")).st_mode & 0o111
    assert in_store(first.file("alpha/run"), pipm.store)
    assert in_store(second.file("alpha/run"), pipm.store)


def test_empty_files_are_never_shared(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path)
    empty = os.stat(first.file("alpha/sub/__init__.py"))
    assert empty.st_nlink == 1
    assert empty.st_ino != os.stat(second.file("alpha/sub/__init__.py")).st_ino
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert not os.path.exists(object_path(pipm.store, digest))


def test_the_private_files_stay_private(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    for environment in (first, second):
        write(environment.file("alpha.pth"), b"/nowhere\n")
        write(f"{environment.path}/bin/tool", b"#!/bin/sh\nexit 0\n" * 400, mode=0o755)
    result = Pipm(store=filesystem / "store").adopt(first.path, second.path)
    for name in ("alpha-1.0.dist-info/RECORD", "alpha-1.0.dist-info/INSTALLER", "alpha.pth"):
        paths = first.file(name), second.file(name)
        assert os.stat(paths[0]).st_nlink == 1, name
        assert os.stat(paths[0]).st_ino != os.stat(paths[1]).st_ino, name
    assert os.stat(f"{first.path}/bin/tool").st_nlink == 1
    assert os.stat(f"{first.path}/pyvenv.cfg").st_nlink == 1
    assert result.all_left == {}


def test_dry_run_changes_nothing(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path)
    before = fingerprint(filesystem.path)
    result = pipm("adopt", second.path, "-n", "--json").expect()
    assert changes(before, fingerprint(filesystem.path)) == []
    promised = result.environment
    done = pipm.adopt(second.path).environment
    assert promised["files_shared"] == done["files_shared"] > 0
    assert done["bytes_freed"] > 0
    assert abs(promised["bytes_freed"] - done["bytes_freed"]) < done["bytes_freed"] / 10


def test_dry_run_before_there_is_a_store(filesystem: Disk) -> None:
    first, _ = two_environments(filesystem)
    before = fingerprint(filesystem.path)
    result = Pipm(store=filesystem / "store")("adopt", first.path, "--dry-run", "--json").expect()
    assert changes(before, fingerprint(filesystem.path)) == []
    assert result.environment["files_shared"] > 0


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_an_asked_for_link_mode_is_used(filesystem: Disk, mode: str) -> None:
    first, second = two_environments(filesystem)
    pipm = Pipm(store=filesystem / "store")
    before = {name: file_digest(first.file(name)) for name in package("alpha") if package("alpha")[name]}
    result = pipm.adopt(first.path, second.path, mode=mode)
    assert {row["link_mode"] for row in result.json["environments"]} == {mode}
    for name, digest in before.items():
        path = first.file(name)
        assert file_digest(path) == digest
        assert os.path.samefile(path, second.file(name))
        assert os.path.islink(path) == (mode == "symlink")
    import_all(first)


def test_all_finds_the_environments_below_a_folder(filesystem: Disk) -> None:
    first, second = two_environments(filesystem)
    os.symlink(first.path, filesystem / "link-to-first")
    hidden = make_environment(filesystem / "project/.venv")
    install(hidden, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store")
    result = pipm("adopt", "--all", filesystem.path, "--json").expect()
    found = sorted(row["path"] for row in result.json["environments"])
    assert found == sorted([first.path, second.path, hidden.path])
    assert pipm("adopt", "--all", filesystem.path, "--json").expect().json["environments"]


def test_an_entry_is_the_same_from_a_wheel_and_from_an_environment(filesystem: Disk) -> None:
    files = package("alpha")
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", files)
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", files)
    pipm = Pipm(store=filesystem / "store")
    pipm("store", "add", wheel).expect()
    entries = entry_names(pipm.store)
    assert len(entries) == 1
    pipm.adopt(environment.path)
    assert entry_names(pipm.store) == entries
    assert unshared(environment.site, pipm.store) == []


def test_unlisted_files_are_left_alone(filesystem: Disk) -> None:
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", package("alpha"))
    write(environment.file("mine.py"), b"value = 1\n" * 900)
    before = os.stat(environment.file("mine.py"))
    Pipm(store=filesystem / "store").adopt(environment.path)
    after = os.stat(environment.file("mine.py"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert after.st_nlink == 1


@pytest.mark.parametrize("mode", ["hardlink", "reflink"])
def test_what_several_environments_have_is_hashed_once(
    filesystem: Disk, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    if mode == "reflink" and filesystem.kind == "ext4":
        pytest.skip("ext4 has no reflinks")
    hashed: list[int] = []

    def digest_of_file(file: int, size: int) -> Digest:
        hashed.append(size)
        return digest_file(file, size)

    for module in (file_sharer, stored_content):
        monkeypatch.setattr(module, "digest_file", digest_of_file)
    paths = []
    for name in ("one", "two", "three"):
        environment = make_environment(filesystem / name)
        install(environment, "alpha==1.0", {**package("alpha"), "alpha/large.bin": LARGE})
        paths.append(environment.path)
    options = AdoptOptions(link_mode=LinkMode(mode))
    done = adopt_together(filesystem / "store", paths, options, Progress())
    assert all(isinstance(one, Adoption) for one in done.values())
    assert hashed.count(len(LARGE)) == 1


def test_the_kernel_compares_with_a_file_that_was_read(
    filesystem: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of the first environment's file are in memory, those of the store's clone are not."""
    if filesystem.kind == "ext4":
        pytest.skip("ext4 has no reflinks")
    compared: list[tuple[int, int]] = []

    def compare(source: int, target: int, size: int) -> bool:
        compared.append((os.fstat(source).st_ino, size))
        return dedupe(source, target, size)

    monkeypatch.setattr(share_file, "dedupe", compare)
    first, second = (make_environment(filesystem / name) for name in ("first", "second"))
    files = {**package("alpha"), "alpha/large.bin": LARGE, "alpha/small.txt": b"a few bytes"}
    for environment in (first, second):
        install(environment, "alpha==1.0", files)
        os.utime(f"{environment.site}/alpha/small.txt", ns=(0, len(environment.path) * 10**9))
    options = AdoptOptions(link_mode=LinkMode.REFLINK)
    adopt_together(filesystem / "store", [first.path, second.path], options, Progress())
    large = os.stat(f"{first.site}/alpha/large.bin")
    assert (large.st_ino, len(LARGE)) in compared
    # btrfs keeps few bytes in the inode: nothing is shared there, but the time is the store's.
    assert any(size == len(files["alpha/small.txt"]) for _, size in compared) is (filesystem.kind == "xfs")
    times = {os.stat(f"{one.site}/alpha/small.txt").st_mtime_ns for one in (first, second)}
    assert len(times) == 1
