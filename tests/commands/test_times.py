"""A stored file has the time of its first file; stores of the first format still work."""

from __future__ import annotations

import glob
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from support.installers import find_version, venv
from support.locks import pylock, stale_bytecode
from support.pipm import Pipm
from support.process import check
from support.snapshot import file_digest, snapshot
from support.store import damage, object_names
from support.synthetic import Environment, import_all, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

KINDS = ("", "-x", "-w", "-xw")


def files(environment: Environment) -> list[str]:
    """The files of site-packages."""
    return sorted(name for name in snapshot(environment.site) if os.path.isfile(environment.file(name)))


def times(environment: Environment) -> dict[str, tuple[str, int]]:
    """Digest and time of each file of alpha that is no bytecode."""
    paths = [environment.file(name) for name in files(environment) if name.startswith("alpha/")]
    return {
        path: (file_digest(path), os.stat(path).st_mtime_ns) for path in paths if not path.endswith(".pyc")
    }


def upgrade(disk: Disk, way: str) -> tuple[Environment, dict[str, tuple[str, int]], int]:
    """Upgrade alpha in one of the ways; return the earlier files, and the time of a marker."""
    wheels = [make_wheel(disk / "wheels", f"alpha=={seed}.0", package("alpha", seed=seed)) for seed in (1, 2)]
    pipm = Pipm(store=disk / "store")
    path = disk / "env"
    if way == "sync":
        pipm("sync", pylock(disk / "lock", wheels[:1]), "--env", path).expect()
        environment = find_version(path)
    else:
        environment = venv(path)
        if way == "wrapped pip":
            pipm("adopt", path, "--wrap-pip").expect()
        check(environment.python, "-m", "pip", "install", "-q", "--no-index", wheels[0])
        pipm.adopt(path)
    before = times(environment)
    marker = time.time_ns()
    time.sleep(0.05)  # the clock of files stands still for some milliseconds
    if way == "sync":
        pipm("sync", pylock(disk / "lock", wheels[1:]), "--env", path).expect()
    else:
        check(environment.python, "-m", "pip", "install", "-q", "--no-index", wheels[1])
        pipm.adopt(path)
    assert damage(pipm.store) == []
    return environment, before, marker


@pytest.mark.timing
@pytest.mark.parametrize("way", ["sync", "wrapped pip", "pip and adopt"])
def test_what_an_upgrade_changes_is_newer_than_a_marker(either_mode: Disk, way: str) -> None:
    if way != "sync" and either_mode.reflinks:
        pytest.skip("each way of pip once")
    environment, before, marker = upgrade(either_mode, way)
    after = times(environment)
    changed = [path for path, (digest, _) in after.items() if before[path][0] != digest]
    assert len(changed) > 5
    assert [path for path in changed if after[path][1] <= marker] == []
    assert [path for path in stale_bytecode(environment) if "/alpha/" in path] == []


@pytest.mark.timing
@pytest.mark.parametrize("mode", ["auto", "symlink", "copy", "finder"])
def test_a_version_that_the_store_knew_has_the_stores_times(either_mode: Disk, mode: str) -> None:
    """In each link mode one `.pyc` of the store fits, and a stat shows later edits."""
    wheels = [
        make_wheel(either_mode / "wheels", f"alpha=={seed}.0", package("alpha", seed=seed)) for seed in (1, 2)
    ]
    pipm = Pipm(store=either_mode / "store")
    locks = [pylock(either_mode / f"lock-{number}", [wheel]) for number, wheel in enumerate(wheels)]
    pipm("sync", locks[1], "--env", either_mode / "other").expect()
    known = dict(times(find_version(either_mode / "other")).values())
    options = ("--env", either_mode / "env", "--link-mode", mode)
    pipm("sync", locks[0], *options).expect()
    time.sleep(0.05)  # the clock of files stands still for some milliseconds
    marker = time.time_ns()
    pipm("sync", locks[1], *options).expect()
    environment = find_version(either_mode / "env")
    code = "import alpha.module_1 as m, os; print(m.__file__, os.stat(m.__file__).st_mtime_ns, m.__cached__)"
    path, when, cached = environment.run(code).split()
    assert known[file_digest(path)] == int(when) < marker
    assert path.startswith(pipm.store) == (mode == "finder")
    assert stale_bytecode(environment) == []
    with open(cached, "rb") as file:
        assert int.from_bytes(file.read(12)[8:], "little") == int(when) // 10**9


def test_an_adopted_file_keeps_its_time_and_others_get_it(filesystem: Disk) -> None:
    made = [make_environment(filesystem / name) for name in ("a", "b", "c")]
    expected = {}
    for days, environment in enumerate(made):
        install(environment, "alpha==1.0", package("alpha"))
        for number, name in enumerate(files(environment)):
            moment = 1_700_000_000_123_456_789 + (86400 * days + number) * 10**9
            os.utime(environment.file(name), ns=(moment, moment))
            if not days:
                expected[name] = moment
        environment.compile()
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(made[0].path)
    pipm.adopt(*(one.path for one in made[1:]))
    own = ("RECORD", "INSTALLER", "py.typed")  # private files, and an empty one without bytecode
    for environment in made:
        found = {name: os.stat(environment.file(name)).st_mtime_ns for name in expected}
        assert {n: t for n, t in found.items() if not n.endswith(own)} == {
            n: t for n, t in expected.items() if not n.endswith(own)
        }
        assert stale_bytecode(environment) == []
    again = pipm.adopt(*(one.path for one in made))
    assert [row["files_shared"] for row in again.json["environments"]] == [0, 0, 0]
    assert damage(pipm.store) == []
    pipm("verify", "--full").expect()


def legacy_time(digest: str) -> int:
    """The time in seconds that a store of manifest format 1 gave a content."""
    return 315_619_200 + (int(digest[:8], 16) >> 2)


def make_old(store: str) -> None:
    """Make of a store what pipm with manifest format 1 would have: times of contents, all files read-only."""
    v1 = f"{store}/v1"
    for name in object_names(store):
        path, digest = f"{v1}/objects/{name}", name.replace("/", "")[:64]
        executable = "x" in name[65:]
        os.chmod(path, 0o555 if executable else 0o444)
        os.utime(path, (legacy_time(digest), legacy_time(digest)))
        os.rename(path, f"{v1}/objects/{digest[:2]}/{digest[2:]}{'-x' if executable else ''}")
    for path in glob.glob(f"{v1}/bytecode/*/*/*"):
        folder, name = os.path.split(path)
        digest = (os.path.basename(folder) + name)[:64]
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.seek(8)
            file.write(legacy_time(digest).to_bytes(4, "little"))
        os.chmod(path, 0o444)
        os.utime(path, (legacy_time(digest), legacy_time(digest)))
        os.rename(path, f"{folder}/{digest[2:]}")
    for path in glob.glob(f"{v1}/wheels/*/*/*/manifest.json"):
        with open(path, encoding="ascii") as stream:
            manifest = json.load(stream)
        rows = [[name, digest, size, kind & 1] for name, digest, size, kind, _, _ in manifest["files"]]
        for name, digest, size, _ in rows:
            if not size:
                os.chmod(f"{os.path.dirname(path)}/{name}", 0o444)
                os.utime(f"{os.path.dirname(path)}/{name}", (legacy_time(digest), legacy_time(digest)))
        with open(path, "w", encoding="ascii") as stream:
            json.dump(manifest | {"version": 1, "files": rows}, stream, separators=(",", ":"))
    for path in glob.glob(f"{v1}/wheels/*/*/*/blueprint"):
        os.unlink(path)


def compiled(path: str) -> Environment:
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"))
    environment.compile()
    return environment


def test_a_store_of_the_first_format_goes_on_working(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    wheel = make_wheel(
        filesystem / "wheels", "beta==1.0", {name: data for name, data in package("beta").items() if data}
    )
    lock = pylock(filesystem / "lock", [wheel])
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(environment.path, mode="hardlink")
    pipm("sync", lock, "--env", filesystem / "synced", "--link-mode", "hardlink").expect()
    make_old(pipm.store)
    empty = environment.file("alpha/sub/__init__.py")
    os.utime(empty, (legacy_time(file_digest(empty)), legacy_time(file_digest(empty))))
    pipm("verify", "--full").expect()
    # What was adopted is shared as it was, and nothing of it changes.
    before = {name: os.stat(environment.file(name)) for name in files(environment)}
    again = pipm.adopt(environment.path, mode="hardlink").environment
    assert again["files_shared"] == 0
    after = {name: os.stat(environment.file(name)) for name in before}
    assert {n: (s.st_ino, s.st_mode, s.st_mtime_ns) for n, s in after.items()} == {
        n: (s.st_ino, s.st_mode, s.st_mtime_ns) for n, s in before.items()
    }
    assert stale_bytecode(environment) == []
    # New environments share with the old, by adopt and by sync.
    other = compiled(filesystem / "other")
    assert pipm.adopt(other.path).left == {}
    assert stale_bytecode(other) == []
    pipm("sync", lock, "--env", filesystem / "late", "--json").expect()
    assert stale_bytecode(find_version(filesystem / "late")) == []
    pipm("sync", lock, "--env", filesystem / "served", "--link-mode", "finder").expect()
    check(f"{filesystem.path}/served/bin/python", "-c", "import beta.module_1")
    pipm("verify", "--full").expect()
    pipm("gc", "--keep", "0").expect()
    pipm("verify", "--full").expect()
    for one in (environment, other):
        import_all(one)
        pipm.release(one.path)
        assert stale_bytecode(one) == []


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_a_content_of_two_releases_has_one_time(tmp_path: Path, mode: str) -> None:
    """Both are adopted in one run, and the store gets a copy of the file, as of setuptools' .pth."""
    pipm, paths = Pipm(store=str(tmp_path / "store")), []
    for number in (1, 2):
        environment = make_environment(str(tmp_path / f"env{number}"))
        files = package("alpha", seed=number) | {
            "alpha.pth": b"# nothing\n" * 9,
            "alpha/same.py": b"x = 1\n" * 9,
        }
        install(environment, f"alpha=={number}.0", files)
        for name in ("alpha.pth", "alpha/same.py"):
            os.utime(environment.file(name), (number * 1000, number * 1000))
        paths.append(environment.path)
    pipm("adopt", *paths, "--link-mode", mode).expect()
    assert damage(pipm.store) == []
