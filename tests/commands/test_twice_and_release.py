"""A second adopt reads no content; release restores everything."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import PARTLY, Pipm, assert_refused
from support.process import check, clean_environ, run
from support.snapshot import assert_kept, changes, fingerprint, snapshot, sources
from support.store import root_count, still_shared, unshared
from support.synthetic import Environment, import_all, install, make_environment, package, write

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk, Disks

# What a second adopt may read: the environment's own words about itself.
_METADATA = ("RECORD", "METADATA", "WHEEL", "INSTALLER", "direct_url.json", "pyvenv.cfg")
_READS = "read,pread64,readv,preadv,preadv2,mmap,ioctl,copy_file_range,sendfile,splice"


def compiled(path: str) -> Environment:
    """An environment with two distributions and bytecode."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    install(environment, "beta==1.0", package("beta", modules=20))
    environment.compile()
    return environment


def content_reads(log: str, *folders: str) -> list[str]:
    """Return the calls of a trace that read a file's content below these folders."""
    seen = []
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            named = re.search(r"<(/[^>]*)>", line)
            if named is None or not named[1].startswith(folders):
                continue
            name = os.path.basename(named[1])
            metadata = name in _METADATA or name == "manifest.json" or name.endswith(".pth")
            if not metadata and "FS_IOC_FIEMAP" not in line and "BTRFS_IOC" not in line:
                seen.append(line.strip())
    return seen


def traced(pipm: Pipm, log: str, *arguments: str) -> None:
    """Run the command under strace."""
    command, variables = pipm.command(*arguments)
    strace = ("strace", "-f", "-y", "-s", "0", "-o", log, "-e", f"trace={_READS}")
    done = run(*strace, *command, environ=variables)
    assert done.returncode == 0, done.stderr


def test_the_second_adopt_reads_no_content(filesystem: Disk) -> None:
    if shutil.which("strace", path=clean_environ()["PATH"]) is None:
        pytest.skip("strace is not installed")
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    folders = (environment.site, os.path.join(pipm.store, "v1", "objects"))
    traced(pipm, filesystem / "first.log", "adopt", environment.path)
    assert len(content_reads(filesystem / "first.log", *folders)) > 20  # the trace sees reads
    traced(pipm, filesystem / "second.log", "adopt", environment.path)
    assert content_reads(filesystem / "second.log", *folders) == []


def test_the_second_adopt_says_already_shared(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    first = pipm.adopt(environment.path).environment
    before = fingerprint(environment.path)
    result = pipm.adopt(environment.path)
    second = result.environment
    assert changes(before, fingerprint(environment.path)) == []
    assert first["files_already_shared"] == 0
    assert second["files_shared"] == 0
    assert second["files_already_shared"] == first["files_shared"] > 0
    assert second["bytes_freed"] == 0
    assert result.left == {}


def test_the_second_adopt_writes_nothing_but_what_a_killed_one_left(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    before = snapshot(filesystem.path)
    # Killed between its last word and its last steps.
    os.mkdir(f"{environment.path}/.pipm-tmp")
    os.mkdir(f"{pipm.store}/v1/tmp/run-0123456789abcdef", 0o700)
    row = pipm.adopt(environment.path).environment
    assert row["files_shared"] == 0
    assert row["files_already_shared"] > 0
    assert snapshot(filesystem.path) == before


def test_an_edit_is_seen_among_what_is_shared_already(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    path = environment.file("beta/__init__.py")
    with open(path, "rb") as stream:
        content = stream.read()
    write(f"{path}.new", content[:-1] + b"#")  # the same size, as an editor saves: a new inode
    os.utime(f"{path}.new")
    os.replace(f"{path}.new", path)
    result = pipm.adopt(environment.path)
    assert [name for name in result.environment["files_left"] if name["path"].endswith("beta/__init__.py")]
    with open(path, "rb") as stream:
        assert stream.read() == content[:-1] + b"#"


def test_a_new_distribution_is_all_that_a_later_adopt_shares(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    first = pipm.adopt(environment.path).environment
    install(environment, "gamma==1.0", package("gamma"))
    second = pipm.adopt(environment.path).environment
    assert second["files_already_shared"] == first["files_shared"]
    shareable = [content for content in package("gamma").values() if content]
    assert second["files_shared"] == len(shareable) + 2  # METADATA and WHEEL
    assert unshared(environment.site, pipm.store) == []


def test_release_is_the_way_back(filesystem: Disk) -> None:
    first, second = compiled(filesystem / "first"), compiled(filesystem / "second")
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path)
    modes = {name: os.lstat(f"{first.path}/{name}").st_mode for name in sources(before)}
    pipm.adopt(first.path, second.path)
    result = pipm.release(first.path)
    assert result.json["command"] == "release"
    assert result.environment["files_released"] > 0
    assert_kept(before, first.path)
    assert sorted(snapshot(first.path)) == sorted(before)
    assert still_shared(first.path) == []
    assert unshared(second.site, pipm.store) == []
    assert root_count(pipm.store) == 1
    after = {name: os.lstat(f"{first.path}/{name}").st_mode for name in sources(before)}
    assert after == modes
    import_all(first)


def test_release_uses_the_bytes_it_says(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    used = pipm.release(environment.path).environment["bytes_used"]
    sizes = sum(
        os.path.getsize(environment.file(name)) for name in (*package("alpha"), *package("beta", modules=20))
    )
    assert sizes * 0.9 < used


def test_release_of_all_below_a_folder(filesystem: Disk) -> None:
    """Those that share files, whatever their mode; the total comes first, and is all that --quiet leaves."""
    pipm = Pipm(store=filesystem / "store")
    first, second, never = (compiled(filesystem / f"code/{name}") for name in ("a", "b", "never"))
    before = [snapshot(one.path) for one in (first, second, never)]
    told = pipm("adopt", first.path, second.path).expect().out
    assert told.startswith("2 environments: shared ")
    again = pipm("adopt", first.path, second.path, "-q").expect().out
    assert again == "2 environments: nothing to do, all files are shared already\n"
    pipm("adopt", first.path, "--link-mode", "finder").expect()
    preview = pipm("release", "--all", filesystem / "code", "-n", "-q").expect().out
    assert preview.startswith("2 environments would get ")
    assert preview.count("\n") == 1
    told = pipm("release", "--all", filesystem / "code", "-q").expect().out
    assert told.startswith("2 environments got ")
    assert root_count(pipm.store) == 0
    for one, taken in zip((first, second, never), before, strict=True):
        assert sources(snapshot(one.path)) == sources(taken)
    assert pipm("release", "--all", filesystem / "code", "--json").expect().json["environments"] == []


def test_one_that_cannot_be_released_stops_no_other(pipm: Pipm, tmp_path: Path) -> None:
    """A moved environment does not stop the others either."""
    first, second, broken = (compiled(str(tmp_path / f"code/{name}")) for name in ("a", "b", "broken"))
    pipm.adopt(first.path, second.path)
    pipm.adopt(broken.path, mode="finder")
    with open(f"{broken.path}/.pipm/finder/receipt.json", "w", encoding="ascii") as stream:
        stream.write("{")
    os.rename(second.path, tmp_path / "code/moved")
    result = pipm("release", "--all", str(tmp_path / "code"), "--json").expect(PARTLY)
    assert [row["path"] for row in result.json["environments"]] == [first.path, str(tmp_path / "code/moved")]
    assert all(row["files_released"] for row in result.json["environments"])


def test_release_of_several_needs_room_for_all(disks: Disks) -> None:
    """Nothing is released where not all of them fit."""
    with disks.small("ext4", size="64M", name="room") as disk:
        pipm = Pipm(store=disk / "store")
        paths = [disk / "a", disk / "b"]
        data = os.urandom(16 << 20)
        for path in paths:
            made = make_environment(path)
            install(made, "big==1.0", {"big/__init__.py": b"", "big/data.bin": data})
            pipm.adopt(path, mode="hardlink")
        with open(disk / "filler", "wb") as stream:
            free = os.statvfs(disk.path).f_bavail * os.statvfs(disk.path).f_bsize
            os.posix_fallocate(stream.fileno(), 0, free - (24 << 20))
        refused = pipm("release", *paths, "--json")
        assert_refused(refused, "Own copies for 2 environments need", "one by one")
        assert root_count(pipm.store) == 2


def test_released_bytecode_is_not_stale(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    pipm.release(environment.path)
    before = fingerprint(environment.path)
    import_all(environment)
    assert changes(before, fingerprint(environment.path)) == []


def test_release_of_one_distribution(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path)
    pipm.adopt(environment.path)
    pipm.release(environment.path, "--dist", "alpha")
    assert_kept(before, environment.path)
    assert still_shared(environment.file("alpha")) == []
    assert [name for name in unshared(environment.site, pipm.store) if "beta" in name] == []
    write(environment.file("alpha/module_1.py"), b"x = 1\n")  # what --dist is for
    assert root_count(pipm.store) == 1


def test_release_again_and_adopt_again(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path)
    pipm.adopt(environment.path)
    pipm.release(environment.path)
    again = pipm.release(environment.path)
    assert again.environment["files_released"] == 0
    pipm.adopt(environment.path)
    assert unshared(environment.site, pipm.store) == []
    assert_kept(before, environment.path)


def test_dry_release_changes_nothing(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    before = fingerprint(filesystem.path)
    promised = pipm.release(environment.path, "-n").environment
    assert changes(before, fingerprint(filesystem.path)) == []
    done = pipm.release(environment.path).environment
    assert promised["files_released"] == done["files_released"] > 20


def test_an_environment_survives_the_loss_of_the_store(either_mode: Disk) -> None:
    """Links and reflinks hold their bytes without the store."""
    environment = compiled(either_mode / "env")
    pipm = Pipm(store=either_mode / "store")
    before = snapshot(environment.path)
    pipm.adopt(environment.path)
    shutil.rmtree(pipm.store)
    assert_kept(before, environment.path)
    import_all(environment)


def test_an_environment_that_was_put_back_is_shared_again(filesystem: Disk) -> None:
    """A copy with equal times may even get the number of the inode that went: it shares nothing yet."""
    pipm = Pipm(store=filesystem / "store")
    first, second = (make_environment(filesystem / name) for name in ("first", "second"))
    for environment in (first, second):
        install(environment, "alpha==1.0", package("alpha"))
    saved = filesystem / "saved"
    check("cp", "-a", "--reflink=never", second.path, saved)
    pipm.adopt(first.path, second.path)
    for name in os.listdir(second.site):
        shutil.rmtree(second.file(name))
        shutil.copytree(f"{saved}/{os.path.relpath(second.file(name), second.path)}", second.file(name))
    marker = f"{second.path}/pyvenv.cfg"
    with open(marker, "rb") as file:
        text = file.read()
    with open(marker, "wb") as file:  # the same inode, made anew
        file.write(text)
    pipm.adopt(second.path)
    assert unshared(second.site, pipm.store) == []
