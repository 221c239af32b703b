"""After adopt and release each file is the same to the bit and the nanosecond."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, PARTLY, Pipm
from support.process import clean_environ, run
from support.snapshot import snapshot, sources
from support.states import PLACE, differences, states
from support.synthetic import LONG_AGO, Environment, install, make_environment, package, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.disks import Disk
    from support.states import States

_GROUP = 12345
_FOR_ALL = 0xFFFFFFFF
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def acl(*rows: tuple[int, int, int]) -> bytes:
    """Return an ACL as the kernel keeps it, of (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


_DEFAULT_ACL = acl((1, 7, _FOR_ALL), (2, 4, _GROUP), (4, 5, _FOR_ALL), (16, 5, _FOR_ALL), (32, 5, _FOR_ALL))
_ACL = acl((1, 6, _FOR_ALL), (2, 4, _GROUP), (4, 4, _FOR_ALL), (16, 4, _FOR_ALL), (32, 4, _FOR_ALL))
SPARSE = b"\0" * 300_000 + b"end"
ODD = {"odd/__init__.py": b"", "odd/shared.py": b"x = 1\n" * 99, "odd/many.py": b"y = 1\n" * 999}
ODD |= {"odd/empty.dat": b"", "odd/sparse.bin": SPARSE, "odd/sub/__init__.py": b"z = 1\n" * 50}
ODD |= {"odd/sub/inside.py": b"z = 2\n" * 99, "odd/data.txt": b"data" * 999, "odd/tool": b"#!/bin/sh\n" * 99}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Let this process and its children have a umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def plain(path: str) -> Environment:
    """An environment with two distributions and bytecode."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    install(environment, "odd==1.0", ODD, executable=("odd/tool",))
    environment.compile()
    return environment


def odd(path: str, *, after: int) -> Environment:
    """The same with unusual modes, groups, times, holes, and folders whose attributes are inherited."""
    environment = plain(path)
    for name, mode in (("shared.py", 0o664), ("many.py", 0o644), ("data.txt", 0o664), ("tool", 0o775)):
        os.chmod(environment.file(f"odd/{name}"), mode)
    os.chmod(environment.file("alpha/__init__.py"), 0o444)
    write(environment.file("odd/sparse.bin"), b"")
    with open(environment.file("odd/sparse.bin"), "r+b") as stream:
        stream.truncate(len(SPARSE) - 3)
        stream.seek(0, os.SEEK_END)
        stream.write(SPARSE[-3:])
    for number, folder in enumerate(("odd", "odd/sub", "alpha", "odd/__pycache__")):
        for file in os.scandir(environment.file(folder)):
            if file.is_file():
                os.utime(file.path, ns=(0, (LONG_AGO + after + number) * 10**9 + 123_456_789))
    # Bytecode fits a source by whole seconds: make it anew for the times above.
    subprocess.run(
        [environment.python, "-m", "compileall", "-q", "-f", environment.site],
        check=True,
        capture_output=True,
    )
    os.chown(environment.file("odd/sub/inside.py"), -1, _GROUP)
    os.chown(environment.file("odd/sub"), -1, _GROUP)
    os.chmod(environment.file("odd/sub"), 0o2775)
    for folder in (environment.path, environment.file("alpha")):
        os.setxattr(folder, "system.posix_acl_default", _DEFAULT_ACL)
    return environment


def ours(taken: States) -> States:
    """Bytecode of the same source says the same by other bytes (the path that it was compiled at)."""
    return {
        name: replace(row, digest="", size=0, data=()) if name.endswith(".pyc") else row
        for name, row in taken.items()
    }


@pytest.mark.parametrize("mode", ["auto", "symlink", "finder"])
def test_adopt_then_release_gives_everything_back(filesystem: Disk, mode: str) -> None:
    """The first environment gives its files to the store, the second gets the first one's."""
    first, second = odd(filesystem / "first", after=0), odd(filesystem / "second", after=500)
    before = [states(environment.path) for environment in (first, second)]
    pipm = Pipm(store=filesystem / "store")
    for environment in (first, second):
        row = pipm("adopt", environment.path, "--link-mode", mode, "--json").expect().environment
        assert row["files_shared"] > 10
    with umask(0o077):
        pipm.release(first.path, second.path)
    for environment, taken in zip((first, second), before, strict=True):
        after = states(environment.path)
        found = differences(ours(taken), ours(after), PLACE)
        if mode == "finder":  # a folder that comes back has the ACL of the one above
            found = [line for line in found if "/alpha: xattrs: " not in line]
        assert found == []
        same = [name for name in taken if "many" in name and environment is first]
        assert [taken[name].digest for name in same] == [after[name].digest for name in same]
        done = subprocess.run(
            [environment.python, "-v", "-B", "-c", "import odd.many, alpha, odd.sub.inside"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "stale" not in done.stderr
        assert done.stderr.count(f"matches {environment.site}") >= 4
    assert os.listdir(f"{pipm.store}/v1/roots") == os.listdir(f"{pipm.store}/v1/originals") == []


def test_what_a_later_adopt_notes(filesystem: Disk) -> None:
    """Adopted twice, and partly installed again in between: each file has the time of its installation."""
    donor, environment = odd(filesystem / "first", after=0), odd(filesystem / "env", after=500)
    pipm = Pipm(store=filesystem / "store")
    before = states(environment.path)
    pipm.adopt(donor.path, environment.path)
    shutil.rmtree(environment.file("alpha"))
    shutil.rmtree(environment.file("alpha-1.0.dist-info"))
    install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    os.unlink(environment.file("odd/data.txt"))
    write(environment.file("odd/data.txt"), ODD["odd/data.txt"], mode=0o600)
    os.chmod(environment.file("odd/data.txt"), 0o644)
    os.utime(environment.file("odd/data.txt"), ns=(0, LONG_AGO * 10**9 + 77))
    anew = states(environment.path)
    pipm.adopt(environment.path)
    pipm.release(environment.path)
    after = states(environment.path)
    site = os.path.relpath(environment.site, environment.path)

    def is_anew(name: str) -> bool:
        return name.startswith((f"{site}/alpha", f"{site}/odd/data.txt")) or name in (site, f"{site}/odd")

    expected = {name: anew[name] if is_anew(name) else row for name, row in before.items() if name in anew}
    assert differences(ours(expected), ours(after), PLACE) == []


def test_what_a_person_set_after_adopt_is_kept(filesystem: Disk) -> None:
    environment = plain(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    os.setxattr(environment.file("odd/tool"), "security.capability", _CAPABILITY)
    os.setxattr(environment.file("odd/many.py"), "system.posix_acl_access", _ACL)
    os.setxattr(environment.file("odd/data.txt"), "user.note", b"keep")
    os.chown(environment.file("odd/shared.py"), _GROUP, -1)
    os.chmod(environment.file("odd/sub/inside.py"), 0o600)
    subprocess.run(["chattr", "+d", environment.file("odd/sparse.bin")], check=True)
    before = states(environment.site)
    pipm.release(environment.path)
    after = states(environment.site)
    kept = ("xattrs", "flags")
    for name, row in after.items():
        assert [getattr(row, field) for field in kept] == [getattr(before[name], field) for field in kept]
    assert after["odd/shared.py"].owner[0] == _GROUP
    assert after["odd/sub/inside.py"].mode == 0o600


def test_what_pipm_never_shared_is_not_touched(filesystem: Disk) -> None:
    """Copies of the whole environment, and its files that no RECORD names, are as they were."""
    environment = plain(filesystem / "env")
    write(environment.file("model.bin"), os.urandom(100_000))
    write(f"{environment.path}/bin/tool", b"#!/bin/sh\n" * 9999, mode=0o755)
    os.chown(environment.file("model.bin"), _GROUP, _GROUP)
    os.setxattr(environment.file("model.bin"), "user.note", b"keep")
    os.setxattr(f"{environment.path}/bin/tool", "security.capability", _CAPABILITY)
    shutil.copytree(environment.site, filesystem / "links", copy_function=os.link)
    subprocess.run(["cp", "-a", environment.path, filesystem / "backup"], check=True)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    before = {name: states(filesystem / name) for name in ("links", "backup", "env")}
    pipm.release(environment.path)
    for name in ("links", "backup"):
        assert differences(before[name], states(filesystem / name), {"links", "ctime"}) == []
    after = states(environment.path)
    site = os.path.relpath(environment.site, environment.path)
    for name in (f"{site}/model.bin", "bin/tool", "pyvenv.cfg"):
        assert after[name] == before["env"][name]


def test_a_protected_file_does_not_stop_the_rest(filesystem: Disk) -> None:
    environment = plain(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    shared = pipm.adopt(environment.path).environment["files_shared"]
    site = os.path.relpath(environment.site, environment.path)
    subprocess.run(["chattr", "+i", environment.file("odd/many.py")], check=True)
    subprocess.run(["chattr", "+a", environment.file("odd/data.txt")], check=True)
    try:
        told = pipm("release", environment.path).expect(PARTLY)
        row = pipm("release", environment.path, "--json").expect(PARTLY).environment
    finally:
        for name in ("odd/many.py", "odd/data.txt"):
            subprocess.run(["chattr", "-ia", environment.file(name)], check=True)
    assert f"{site}/odd/many.py: protected" in told.err
    assert "chattr -i" in told.err
    assert {left["path"] for left in row["files_left"]} == {
        f"{site}/odd/many.py",
        f"{site}/odd/data.txt",
    }
    rest = pipm.release(environment.path).environment
    assert (rest["files_left"], rest["files_released"] >= 2) == ([], True)
    assert shared > rest["files_released"]


def test_a_folder_that_is_mounted_read_only_is_left(filesystem: Disk) -> None:
    environment = plain(filesystem / "env")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    folder = environment.file("odd/sub")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        row = pipm("release", environment.path, "--json").expect(PARTLY).environment
    finally:
        subprocess.run(["umount", folder], check=True)
    assert row["files_left"]
    assert all("/odd/sub/" in left["path"] for left in row["files_left"])
    assert row["files_released"] > 10


def test_without_a_note_the_owner_may_write_again(filesystem: Disk) -> None:
    """As with an adoption by an earlier pipm, or a note that a disk tore."""
    environment = plain(filesystem / "env")
    os.chmod(environment.file("odd/many.py"), 0o664)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path)
    (record,) = os.scandir(f"{pipm.store}/v1/originals")
    os.truncate(record.path, 50)
    with umask(0o077):
        told = pipm("release", environment.path).expect()
    assert "times" in told.err
    modes = {row.mode for name, row in states(environment.file("odd")).items() if row.kind == "file"}
    assert modes <= {0o644, 0o755, 0o664}
    environment.run("import odd.many")


def small(path: str) -> Environment:
    """An environment with two files and their metadata."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", {"alpha/__init__.py": b"x = 1\n", "alpha/data.txt": b"data"})
    return environment


def test_a_release_of_a_finder_environment_that_failed_is_made_again(tmp_path: Path) -> None:
    """Whichever file could not be removed, the next release brings everything back."""
    if shutil.which("strace", path=clean_environ()["PATH"]) is None:
        pytest.skip("strace is not installed")
    pipm = Pipm(store=str(tmp_path / "store"))
    environment = small(str(tmp_path / "env"))
    before = sources(snapshot(environment.path))
    failed = 0
    for number in range(1, 60):
        pipm("adopt", environment.path, "--link-mode", "finder").expect()
        command, variables = pipm.command("release", environment.path)
        inject = f"inject=unlink,unlinkat,rmdir:error=EIO:when={number}"
        done = run("strace", "-f", "-o", os.devnull, "-e", inject, *command, environ=variables)
        assert "Traceback" not in done.stderr
        pipm("release", environment.path).expect()
        assert sources(snapshot(environment.path)) == before
        failed += done.returncode != 0
        if not done.returncode and failed > 5:
            break
    assert failed > 5


@pytest.mark.parametrize("another", [True, False])
def test_hard_links_whose_store_is_gone(tmp_path: Path, *, another: bool) -> None:
    first, second, linked = (plain(str(tmp_path / name)) for name in ("first", "second", "linked"))
    backup = linked.path.replace("linked", "backup")
    shutil.copytree(linked.path, backup, copy_function=os.link, symlinks=True)  # as an installer's cache
    store = str(tmp_path / "store")
    pipm = Pipm(store=store)
    pipm("adopt", first.path, second.path, "--link-mode", "hardlink").expect()
    shutil.rmtree(store)
    if another:
        pipm("adopt", make_environment(str(tmp_path / "other")).path, "--link-mode", "hardlink").expect()
    before = states(second.path)
    assert os.path.samefile(first.file("odd/many.py"), second.file("odd/many.py"))
    assert "hard links to another store's files" in pipm("release", first.path).expect().err
    names = ("odd/many.py", "odd/shared.py", "odd/data.txt", "odd/tool", "alpha/__init__.py")
    for path in (*(first.file(name) for name in names), first.bytecode("odd/many.py")):
        status = os.stat(path)
        assert (status.st_nlink, status.st_mode & 0o200) == (1, 0o200), path
    assert differences(before, states(second.path), {"links", "ctime"}) == []
    assert "Nothing to release" in pipm("release", first.path).expect().out
    taken = states(backup)
    assert "Nothing to release" in pipm("release", linked.path).expect().out
    assert differences(taken, states(backup)) == []


def test_an_empty_file_of_ones_own_stays_as_it_is(tmp_path: Path) -> None:
    """It is in the place of an empty file that the finder serves, with the mode of a new file."""
    environment = plain(str(tmp_path / "environment"))
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm("adopt", environment.path, "--link-mode", "finder").expect()
    own = environment.file("odd/empty.dat")
    os.mkdir(os.path.dirname(own))
    write(own, b"", mode=0o600)
    before = os.stat(own)
    pipm.release(environment.path)
    after = os.stat(own)
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    assert os.path.getsize(environment.file("odd/many.py"))


def test_empty_files_of_a_distribution_without_an_entry(tmp_path: Path) -> None:
    """RECORD names a file without a hash that is not there: no manifest has the times that adopting gave."""
    environments = []
    for number in range(2):
        environment = make_environment(str(tmp_path / f"env{number}"))
        install(
            environment, "alpha==1.0", package("alpha"), record=lambda text: f"{text}alpha/x,,\n".encode()
        )
        os.utime(environment.file("alpha/sub/__init__.py"), ns=(0, (LONG_AGO + number * 9) * 10**9 + 5))
        environment.compile()
        environments.append(environment)
    before = [states(environment.path) for environment in environments]
    pipm = Pipm(store=str(tmp_path / "store"))
    for _ in range(2):
        pipm.adopt(*(environment.path for environment in environments))
    assert os.listdir(f"{pipm.store}/v1/wheels") == []
    pipm.release(*(environment.path for environment in environments))
    for environment, taken in zip(environments, before, strict=True):
        assert differences(ours(taken), ours(states(environment.path)), PLACE) == []


def test_metadata_that_says_the_same_is_one_inode(filesystem: Disk) -> None:
    """Also on btrfs, where an open directory does not show later renames into it."""
    environment = plain(filesystem / "environment")
    Pipm(store=filesystem / "store")("adopt", environment.path, "--link-mode", "finder").expect()
    wheels = [os.stat(environment.file(f"{name}-1.0.dist-info/WHEEL")) for name in ("alpha", "odd")]
    assert wheels[0].st_ino == wheels[1].st_ino
    assert {stat.S_IMODE(status.st_mode) for status in wheels} == {0o444}


def test_the_finders_folder_as_a_symlink_is_refused(tmp_path: Path) -> None:
    pipm = Pipm(store=str(tmp_path / "store"))
    environment = small(str(tmp_path / "env"))
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{environment.path}/.pipm")
    before = states(environment.path)
    told = pipm("adopt", environment.path, "--link-mode", "finder").expect(FAILED)
    assert ".pipm in the environment is not a folder" in told.err
    assert states(environment.path) == before
    assert os.listdir(tmp_path / "elsewhere") == []


def test_the_files_that_were_shared_are_counted(tmp_path: Path) -> None:
    """An empty source got but the time of the store's, and gets its own again: it is no copy."""
    first, second = (plain(str(tmp_path / name)) for name in ("first", "second"))
    own = os.stat(first.file("odd/__init__.py")).st_mtime + 100
    os.utime(second.file("odd/__init__.py"), (own, own))
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm.adopt(first.path)
    pipm.adopt(second.path)
    assert os.stat(second.file("odd/__init__.py")).st_mtime != own
    before = {path: os.lstat(path).st_ino for path in _files(second)}
    promised = pipm("release", second.path, "-n", "--json").expect().environment["files_released"]
    done = pipm.release(second.path).environment["files_released"]
    assert os.stat(second.file("odd/__init__.py")).st_mtime == own
    renewed = sum(os.lstat(path).st_ino != inode for path, inode in before.items())
    assert (promised, done) == (renewed, renewed)


def _files(environment: Environment) -> list[str]:
    return [os.path.join(folder, name) for folder, _, names in os.walk(environment.path) for name in names]
