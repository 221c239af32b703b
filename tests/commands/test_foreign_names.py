"""pipm never changes an inode with names outside of the environment and the store."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.installers import uv_environment
from support.locks import stale_bytecode
from support.pipm import PARTLY, Pipm
from support.process import check
from support.snapshot import file_digest, snapshot
from support.states import COUNTS, differences, foreign_differences, states
from support.store import damage, object_path
from support.synthetic import Environment, import_all, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from support.disks import Disk

SPEC = "alpha==1.0"


def aged(path: str, days: int) -> Environment:
    """An environment whose files were installed one after the other, some days after the first."""
    environment = make_environment(path)
    install(environment, SPEC, package("alpha"))
    for number, name in enumerate(sorted(snapshot(environment.site))):
        time = (1_600_000_000 + 86400 * days + number) * 10**9 + 123_456_789
        os.utime(environment.file(name), ns=(time, time))
    environment.compile()
    return environment


def link_identical(environment: Environment, path: str) -> Environment:
    """Another environment of the same inodes, as a backup of hard links is."""
    check("cp", "-al", environment.path, path)
    return Environment(path=path)


@pytest.mark.parametrize("known", [False, True])
def test_a_backup_of_hard_links_stays_as_it_is(filesystem: Disk, known: bool) -> None:  # noqa: FBT001
    pipm = Pipm(store=filesystem / "store")
    if known:
        pipm.adopt(aged(filesystem / "first", 5).path)
    environment = aged(filesystem / "env", 10)
    backup = link_identical(environment, filesystem / "backup")
    os.makedirs(pipm.store, exist_ok=True)
    before = states(filesystem.path)
    result = pipm.adopt(environment.path)
    assert result.left == {}
    assert foreign_differences(before, states(filesystem.path), "env", "store", "first") == []
    assert stale_bytecode(environment) == stale_bytecode(backup) == []
    assert damage(pipm.store) == []
    pipm("verify", "--full").expect()
    pipm.adopt(backup.path)
    assert stale_bytecode(backup) == []
    import_all(backup)


def test_uvs_cache_and_siblings_stay_as_they_are(filesystem: Disk) -> None:
    wheel = make_wheel(filesystem / "wheels", SPEC, package("alpha"))
    names = ("a", "c")
    environments = [
        uv_environment(filesystem / name, wheel, cache=filesystem / "uv-cache", link_mode="hardlink")
        for name in names
    ]
    first, second = environments
    for environment in environments:
        environment.compile()
    pipm = Pipm(store=filesystem / "store")
    os.mkdir(pipm.store, 0o700)  # the folder above gets no new name while it is watched
    before = states(filesystem.path)
    pipm.adopt(first.path, mode="hardlink")
    assert foreign_differences(before, states(filesystem.path), "a", "store") == []
    assert stale_bytecode(first) == stale_bytecode(second) == []
    path = "alpha/module_1.py"
    assert os.path.samefile(object_path(pipm.store, file_digest(first.file(path))), second.file(path))
    # The store's inodes are the cache's: to share the sibling, too, frees no more than its bytecode.
    row = pipm.adopt(second.path, mode="hardlink").environment
    compiled = sum(
        os.stat(first.file(name)).st_blocks * 512 for name in snapshot(first.site) if name.endswith(".pyc")
    )
    assert 0 <= row["bytes_freed"] <= compiled
    assert stale_bytecode(second) == []
    pipm("verify", "--full").expect()


def test_files_of_an_unusual_mode_are_left_alone(either_mode: Disk) -> None:
    modes = {
        "alpha/module_1.py": 0o600,
        "alpha/module_2.py": 0o640,
        "alpha/sub/module_3.py": 0o400,
        "alpha/tool.sh": 0o4755,
        "alpha/data/table.bin": 0o2644,
        "alpha/data/small.bin": 0o744,
    }
    environment = aged(either_mode / "env", 1)
    for name, mode in modes.items():
        os.chmod(environment.file(name), mode)
    pyc = environment.bytecode("alpha/module_4.py")
    os.chmod(pyc, 0o600)
    compiled = [pyc, *(environment.bytecode(name) for name in modes if name.endswith(".py"))]
    private = [*modes, *(os.path.relpath(path, environment.site) for path in compiled)]
    before = states(environment.site)
    result = Pipm(store=either_mode / "store").adopt(environment.path, codes=(PARTLY,))
    after = states(environment.site)
    assert {name: after[name] for name in private} == {name: before[name] for name in private}
    site = f"{os.path.relpath(environment.site, environment.path)}/"
    reasons = {name.removeprefix(site): why for name, why in result.left.items()}
    assert set(modes) <= set(reasons)
    assert all("unusual mode" in reasons[name] for name in modes)


def test_a_repair_changes_no_foreign_name(either_mode: Disk) -> None:
    """A mode, a time and bytes that somebody changed on an inode that others have, too."""
    environment = make_environment(either_mode / "a")
    install(environment, SPEC, package("alpha"))
    backup = link_identical(environment, either_mode / "backup")
    wheel = make_wheel(either_mode / "wheels", SPEC, package("alpha"))
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.path.dirname(wheel)}
    pipm = Pipm(store=either_mode / "store", environ=index)
    pipm.adopt(environment.path, mode="hardlink")
    os.chmod(environment.file("alpha/module_1.py"), 0o600)
    os.utime(environment.file("alpha/module_2.py"), (5, 5))
    with open(environment.file("alpha/module_3.py"), "a", encoding="utf-8") as file:
        file.write("# edited\n")
    before = states(backup.path)
    pipm("verify", "--full", "--repair", "--json").expect()
    assert differences(before, states(backup.path), COUNTS) == []
    assert pipm("verify", "--full", "--json").expect().json["damaged"] == []


def test_what_programs_copy_as_a_template_stays_writable(either_mode: Disk) -> None:
    files = package("alpha") | {
        "alpha/templates/env.py": b"# edit me\n",
        "alpha/templates/run.sh": b"#!/bin/sh\n",
        "top.py": b"X = 1\n",
        "space/inner.py": b"X = 2\n",
    }
    made = [make_environment(either_mode / name) for name in ("a", "b")]
    for environment in made:
        install(environment, SPEC, files, executable=("alpha/templates/run.sh",))
    pipm = Pipm(store=either_mode / "store")
    pipm.adopt(*(one.path for one in made), mode="hardlink")
    wheel = make_wheel(either_mode / "wheels", "beta==1.0", {"beta/__init__.py": b"", "beta/t/x.py": b"t\n"})
    lock = f"{either_mode.path}/requirements.txt"
    with open(lock, "w", encoding="utf-8") as stream:
        stream.write(f"{wheel}\n")
    for mode in ("hardlink", "finder"):
        pipm("sync", lock, "--env", either_mode / mode, "--link-mode", mode).expect()
        code = "import beta, os; t = os.path.dirname(beta.__file__) + '/t'\n"
        code += "print(*(oct(os.stat(path).st_mode & 0o777) for path in (t, t + '/x.py')))"
        assert Environment(path=either_mode / mode).run(code) == "0o755 0o644\n"
    expected = {
        "alpha/templates/env.py": 0o644,
        "alpha/templates/run.sh": 0o755,
        "space/inner.py": 0o644,
        "alpha/data/table.bin": 0o644,
        "top.py": 0o444,
        "alpha/__init__.py": 0o444,
    }
    for environment in made:
        found = {name: os.stat(environment.file(name)).st_mode & 0o7777 for name in expected}
        assert found == expected
    assert damage(pipm.store) == []


def test_what_is_mounted_into_an_environment_is_no_part_of_it(filesystem: Disk) -> None:
    """A bind mount inside of site-packages: link(2) and rename(2) end at it, reflinks would not."""
    pipm = Pipm(store=filesystem / "store")
    for known in (False, True):
        environment = aged(filesystem / f"env-{known}", 1 + known)
        elsewhere = filesystem / f"elsewhere-{known}"
        inside = environment.file("alpha/sub")
        check("cp", "-a", inside, elsewhere)
        check("mount", "--bind", elsewhere, inside)
        try:
            before = states(elsewhere)
            for mode in ("hardlink", "auto"):
                pipm.adopt(environment.path, mode=mode)
                assert differences(before, states(elsewhere), set()) == []
                assert stale_bytecode(environment) == []
            import_all(environment)
        finally:
            check("umount", inside)
    assert damage(pipm.store) == []


def fill_links(path: str, folder: str) -> None:
    """Give the inode of *path* as many names as it takes."""
    code = """
import os, sys
path, folder = sys.argv[1:]
os.mkdir(folder)
number = 0
try:
    while True:
        os.link(path, f"{folder}/{number}")
        number += 1
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run(["python3", "-c", code, path, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "31"


def test_a_file_of_too_many_names(filesystem: Disk) -> None:
    if filesystem.kind != "ext4":
        pytest.skip("65 000 links are the most on ext4")
    disk = filesystem
    pipm = Pipm(store=disk / "store")
    own = aged(disk / "own", 1)
    path = "alpha/module_1.py"
    fill_links(own.file(path), disk / "links")
    before = os.stat(own.file(path))
    left = pipm.adopt(own.path, codes=(PARTLY,)).left
    assert [name.endswith(path) for name in left] == [True]
    after = os.stat(own.file(path))
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert stale_bytecode(own) == []
    # An object that takes no more links gets another inode of the same time, and its bytecode likewise.
    first = aged(disk / "first", 2)
    pipm.adopt(first.path)
    time = os.stat(first.file(path)).st_mtime_ns
    fill_links(object_path(pipm.store, file_digest(first.file(path))), disk / "more")
    fill_links(first.bytecode(path), disk / "compiled")
    for number in (3, 4):
        environment = aged(disk / f"env-{number}", number)
        assert pipm.adopt(environment.path).left == {}
        assert os.stat(environment.file(path)).st_mtime_ns == time
        assert stale_bytecode(environment) == []
    assert damage(pipm.store) == []
    pipm("verify", "--full").expect()
