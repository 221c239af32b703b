"""verify finds damage, names the environments that share it, and repairs it from a clean copy."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, Pipm
from support.snapshot import file_digest, snapshot, sources
from support.store import damage, entry_names, object_names, object_path, unshared
from support.synthetic import (
    Environment,
    import_all,
    install,
    make_environment,
    make_wheel,
    package,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

TARGET = "alpha/data/table.bin"
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CACHE_DIR": "/nonexistent"}


def environments(disk: Disk, *names: str) -> list[Environment]:
    """Environments with the same distribution and bytecode."""
    made = []
    for name in names:
        environment = make_environment(disk / name)
        install(environment, "alpha==1.0", package("alpha"))
        environment.compile()
        made.append(environment)
    return made


def adopted(disk: Disk, *names: str) -> tuple[Pipm, list[Environment]]:
    """The same, adopted; the index is nowhere."""
    made = environments(disk, *names)
    pipm = Pipm(store=disk / "store", environ=NO_INDEX)
    pipm.adopt(*(environment.path for environment in made))
    return pipm, made


def spoil(path: str, *, keep_time: bool) -> None:
    """Flip a bit in place, as root, a broken program or a broken disk would."""
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(300)
        byte = file.read(1)
        file.seek(300)
        file.write(bytes([byte[0] ^ 1]))
    os.chmod(path, status.st_mode & 0o777)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_sound_store_is_sound(either_mode: Disk) -> None:
    pipm, (first, second) = adopted(either_mode, "a", "b")
    for options in ((), ("--full",), (first.path,), ("--full", second.path)):
        found = pipm("verify", *options, "--json").expect().json
        assert found["checked"] > 20
        assert (found["damaged"], found["repaired"], found["modified"]) == ([], 0, [])
    assert "are sound, by times and sizes (--full" in pipm("verify").expect().out
    assert "are sound [" in pipm("verify", "--full").expect().out


def test_an_edit_that_kept_its_time_is_not_lost(either_mode: Disk) -> None:
    """A copy of one environment alone looks like a flipped bit; `rsync --times` makes such a one, too."""
    pipm, (first, _) = adopted(either_mode, "a", "b")
    path = first.file(TARGET)
    shutil.copy2(path, f"{path}.new")
    os.replace(f"{path}.new", path)
    spoil(path, keep_time=True)
    with open(path, "rb") as file:
        edit = file.read()
    (row,) = pipm("verify", "--full", "--repair", "--json").expect().json["damaged"]
    assert (row["path"], row["repaired"]) == (path, True)
    with open(row["saved"], "rb") as file:
        assert file.read() == edit
    assert damage(pipm.store) == []


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_flipped_bit_is_found_and_mended(filesystem: Disk, *, keep_time: bool) -> None:
    third = environments(filesystem, "clean")[0]  # never adopted: a copy of nobody's
    pipm, (first, second) = adopted(filesystem, "a", "b")
    before = snapshot(first.path), snapshot(second.path)
    stored = object_path(pipm.store, file_digest(first.file(TARGET)))
    shared = os.path.samefile(stored, first.file(TARGET))
    spoil(stored, keep_time=keep_time)
    quick = pipm("verify", "--json").expect(0 if keep_time else FAILED).json
    assert len(quick["damaged"]) == (0 if keep_time else 1)
    (row,) = pipm("verify", "--full", "--json").expect(FAILED).json["damaged"]
    assert row["path"].endswith(TARGET)
    assert row["entry"] in entry_names(pipm.store)
    assert row["environments"] == ([first.path, second.path] if shared else [])
    told = pipm("verify", "--full").expect(FAILED)
    assert TARGET in told.out
    assert "pipm verify --full --repair" in told.err  # without --full this damage is not seen
    assert "pipm release --dist" in told.err
    names = [first.path, second.path, third.path]
    repaired = pipm("verify", "--full", "--repair", *names, "--json").expect().json
    assert repaired["repaired"] == 1
    assert (snapshot(first.path), snapshot(second.path)) == before
    assert damage(pipm.store) == []
    assert unshared(first.site, pipm.store) == unshared(second.site, pipm.store) == []
    # It might be an edit, also if it kept the time.
    assert os.path.getsize(repaired["damaged"][0]["saved"]) == os.path.getsize(first.file(TARGET))
    pipm("verify", "--full").expect()


def test_two_of_three_copies_are_damaged(either_mode: Disk) -> None:
    """On a reflink disk one environment has the store's wrong bytes, the other the right ones."""
    clean = environments(either_mode, "clean")[0]
    pipm, (first, second) = adopted(either_mode, "a", "b")
    before = snapshot(first.path), snapshot(second.path)
    spoil(object_path(pipm.store, file_digest(first.file(TARGET))), keep_time=True)
    if either_mode.reflinks:
        spoil(first.file(TARGET), keep_time=True)
        paths = [first.path, second.path]
    else:
        paths = [first.path, second.path, clean.path]
    (row,) = pipm("verify", "--full", "--json", *paths).expect(FAILED).json["damaged"]
    assert row["environments"] == ([first.path] if either_mode.reflinks else [first.path, second.path])
    pipm("verify", "--full", "--repair", *paths).expect()
    assert (snapshot(first.path), snapshot(second.path)) == before
    assert damage(pipm.store) == []
    pipm("verify", "--full").expect()


def test_nothing_to_repair_from(either_mode: Disk) -> None:
    pipm, (first,) = adopted(either_mode, "a")
    spoil(object_path(pipm.store, file_digest(first.file(TARGET))), keep_time=True)
    if either_mode.reflinks:
        spoil(first.file(TARGET), keep_time=True)
    before = snapshot(first.path)
    left = pipm("verify", "--full", "--repair", "--json").expect(FAILED).json
    assert (left["repaired"], [row["repaired"] for row in left["damaged"]]) == (0, [False])
    assert snapshot(first.path) == before
    assert "no clean copy" in pipm("verify", "--full", "--repair").expect(FAILED).err


def test_repair_from_the_index(either_mode: Disk) -> None:
    pipm, (first,) = adopted(either_mode, "a")
    before = snapshot(first.path)
    spoil(object_path(pipm.store, file_digest(first.file(TARGET))), keep_time=True)
    if either_mode.reflinks:
        spoil(first.file(TARGET), keep_time=True)
    make_wheel(either_mode / "index", "alpha==1.0", package("alpha"))
    pipm = Pipm(store=pipm.store, environ={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": either_mode / "index"})
    repaired = pipm("verify", "--full", "--repair", "--json").expect().json
    assert repaired["repaired"] == 1
    assert snapshot(first.path) == before
    assert damage(pipm.store) == []


def test_repair_from_pips_cache(either_mode: Disk) -> None:
    pipm, (first,) = adopted(either_mode, "a")
    before = snapshot(first.path)
    spoil(object_path(pipm.store, file_digest(first.file(TARGET))), keep_time=True)
    if either_mode.reflinks:
        spoil(first.file(TARGET), keep_time=True)
    wheel = make_wheel(either_mode / "wheels", "alpha==1.0", package("alpha"))
    cached = either_mode / "cache/http-v2/a/b/abcdef.body"
    os.makedirs(os.path.dirname(cached))
    shutil.copy(wheel, cached)
    pipm = Pipm(store=pipm.store, environ={"PIP_NO_INDEX": "1", "PIP_CACHE_DIR": either_mode / "cache"})
    assert pipm("verify", "--full", "--repair", "--json").expect().json["repaired"] == 1
    assert snapshot(first.path) == before


def test_repair_from_uvs_cache(either_mode: Disk) -> None:
    """It has wheels unpacked; the files are known by their digests alone."""
    pipm, (first,) = adopted(either_mode, "a")
    before = snapshot(first.path)
    os.makedirs(either_mode / "uv/archive-v0")
    cached = make_environment(either_mode / "unpacked")
    install(cached, "alpha==1.0", package("alpha"))
    os.rename(cached.site, either_mode / "uv/archive-v0/some-hash")
    spoil(object_path(pipm.store, file_digest(first.file(TARGET))), keep_time=True)
    if either_mode.reflinks:
        spoil(first.file(TARGET), keep_time=True)
    pipm = Pipm(store=pipm.store, environ=NO_INDEX | {"UV_CACHE_DIR": either_mode / "uv"})
    assert pipm("verify", "--full", "--repair", "--json").expect().json["repaired"] == 1
    assert snapshot(first.path) == before


def test_repair_from_any_release_that_has_the_content(tmp_path: Path) -> None:
    """pip has a copy of six among its own modules: whichever of the two the index has will do."""
    first = make_environment(str(tmp_path / "a"))
    for name in ("alpha", "omega"):
        install(first, f"{name}==1.0", {f"{name}/__init__.py": b"SAME = 1\n" * 100})
    pipm = Pipm(store=str(tmp_path / "store"), environ=NO_INDEX)
    pipm.adopt(first.path, mode="hardlink")
    stored = object_path(pipm.store, file_digest(first.file("alpha/__init__.py")))
    spoil(stored, keep_time=False)
    make_wheel(str(tmp_path / "index"), "omega==1.0", {"omega/__init__.py": b"SAME = 1\n" * 100})
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    Pipm(store=pipm.store, environ=index)("verify", "--repair").expect()
    import_all(first)
    assert damage(pipm.store) == []


def test_one_environments_edit_stays_with_it(either_mode: Disk) -> None:
    """A hard-linked file is edited by root in the only environment that shares it."""
    clean = environments(either_mode, "clean")[0]
    (first,) = environments(either_mode, "a")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, mode="hardlink")
    spoil(first.file(TARGET), keep_time=False)
    edited = snapshot(first.path)
    (row,) = pipm("verify", "--json").expect(FAILED).json["damaged"]
    assert row["environments"] == [first.path]
    (row,) = pipm("verify", "--repair", "--json", first.path, clean.path).expect().json["damaged"]
    assert row["kept_in"] == first.path
    assert sources(snapshot(first.path)) == sources(edited)
    assert os.stat(first.file(TARGET)).st_nlink == 1
    assert os.stat(first.file(TARGET)).st_mode & 0o200
    assert damage(pipm.store) == []
    found = pipm("verify", "--json").expect().json
    assert found["modified"] == [first.file(TARGET)]
    told = pipm("adopt", first.path).expect()
    assert TARGET in told.err


def test_a_private_edit_is_no_damage(either_mode: Disk) -> None:
    pipm, (first, _) = adopted(either_mode, "a", "b")
    target = first.file("alpha/module_1.py")
    os.unlink(target)
    with open(target, "wb") as file:
        file.write(b"PATCHED = True\n")
    found = pipm("verify", "--full", "--json").expect().json
    assert (found["damaged"], found["modified"]) == ([], [target])


def test_permissions_and_times_come_back(either_mode: Disk) -> None:
    pipm, (first,) = adopted(either_mode, "a")
    one, other = (
        object_path(pipm.store, file_digest(first.file(f"alpha/{name}")))
        for name in ("data/table.bin", "__init__.py")
    )
    os.chmod(one, 0o666)
    os.utime(other, (1, 1))
    rows = pipm("verify", "--json").expect(FAILED).json["damaged"]
    assert sorted(row["flaw"].split()[-1] for row in rows) == ["permissions", "stored"]
    assert pipm("verify", "--repair", "--json").expect().json["repaired"] == 2
    assert damage(pipm.store) == []
    pipm("verify", "--full").expect()


def test_false_bytecode_is_found_and_compiled_anew(either_mode: Disk) -> None:
    pipm, (first, second) = adopted(either_mode, "a", "b")
    path = first.bytecode("alpha/module_1.py")
    with open(path, "rb") as file:
        good = file.read()
    other = second.bytecode("alpha/module_2.py")
    with open(other, "rb") as file:
        false = good[:16] + file.read()[16:]  # sound bytecode, of another source
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.truncate()
        file.write(false)
    os.chmod(path, 0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    pipm("verify").expect()
    (row,) = pipm("verify", "--full", "--json").expect(FAILED).json["damaged"]
    assert row["path"].startswith("bytecode/")
    pipm("verify", "--full", "--repair").expect()
    pipm("verify", "--full").expect()
    import_all(first)
    for environment in (first, second):
        with open(environment.bytecode("alpha/module_1.py"), "rb") as file:
            assert file.read() != false


def test_everything_lost_is_rebuilt(filesystem: Disk) -> None:
    made = environments(filesystem, "a", "b")
    install(made[1], "beta==2.0", package("beta"))
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store", environ=NO_INDEX)
    pipm("store", "add", wheel).expect()
    pipm.adopt(*(environment.path for environment in made))
    before = [snapshot(environment.path) for environment in made]
    v1 = os.path.join(pipm.store, "v1")
    names, entries = object_names(pipm.store), entry_names(pipm.store)
    roots = set(os.listdir(os.path.join(v1, "roots")))
    shutil.rmtree(os.path.join(v1, "objects"))
    os.mkdir(os.path.join(v1, "objects"), 0o700)
    for folder in ("roots", "by-wheel"):
        for name in os.listdir(os.path.join(v1, folder)):
            os.unlink(os.path.join(v1, folder, name))
    (beta,) = (name for name in entries if name.startswith("beta/"))
    with open(os.path.join(v1, "wheels", beta, "manifest.json"), "wb") as file:
        file.write(b"torn")
    assert pipm("verify", "--json").expect(FAILED).json["unreadable"] == [beta]
    rebuilt = pipm("verify", "--rebuild", "--json", *(environment.path for environment in made)).expect()
    assert rebuilt.json["rebuilt"] == {
        "manifests": 1,
        "objects": len(names),
        "wheels": 1,
        "roots": [environment.path for environment in made],
    }
    assert (object_names(pipm.store), entry_names(pipm.store)) == (names, entries)
    assert set(os.listdir(os.path.join(v1, "roots"))) == roots
    done = pipm("gc", "--keep", "0", "--json").expect().json
    assert (done["entries_removed"], done["objects_removed"]) == (0, 0)
    pipm("verify", "--full").expect()
    pipm.adopt(*(environment.path for environment in made))
    for environment, taken in zip(made, before, strict=True):
        assert sources(snapshot(environment.path)) == sources(taken)
        assert unshared(environment.site, pipm.store) == []


def test_a_root_that_is_damaged_stops_gc_and_is_rebuilt(either_mode: Disk) -> None:
    pipm, (first,) = adopted(either_mode, "a")
    folder = os.path.join(pipm.store, "v1", "roots")
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(b"{")
    assert "--rebuild" in pipm("gc", "--keep", "0").expect(FAILED).err
    pipm("verify", "--rebuild").expect()  # the entry says which environment it came from
    assert os.listdir(folder) == [name]
    assert pipm("gc", "--keep", "0", "--json").expect().json["entries_removed"] == 0
    import_all(first)


def test_symlinked_environments_are_named(either_mode: Disk) -> None:
    (first,) = environments(either_mode, "a")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, mode="symlink")
    spoil(os.path.realpath(first.file(TARGET)), keep_time=False)
    (row,) = pipm("verify", "--json").expect(FAILED).json["damaged"]
    assert row["environments"] == [first.path]


def test_a_copy_without_hard_links_is_linked_again(either_mode: Disk) -> None:
    pipm, _ = adopted(either_mode, "home/a", "home/b")
    shutil.move(pipm.store, either_mode / "home/store")
    before = tree_size(either_mode / "home")
    shutil.move(either_mode / "home", either_mode / "old")
    shutil.copytree(either_mode / "old", either_mode / "home", symlinks=True)
    shutil.rmtree(either_mode / "old")
    pipm = Pipm(store=either_mode / "home/store", environ=NO_INDEX)
    done = pipm("adopt", either_mode / "home/a", either_mode / "home/b").expect()
    assert done.err.count("the store has some files twice") == 1
    assert len(pipm("verify", "--json").expect().json["duplicates"]) > 5
    assert "pipm verify --repair links them again" in pipm("verify").expect().err
    assert "that the store had twice" in pipm("verify", "--repair").expect().err
    assert pipm("verify", "--full", "--json").expect().json["duplicates"] == []
    assert tree_size(either_mode / "home") == before
    assert "twice" not in pipm("adopt", either_mode / "home/a").expect().err


def tree_size(path: str) -> tuple[int, int]:
    """Return how many inodes of files are below *path*, and their blocks."""
    files = {
        (status.st_ino, status.st_blocks)
        for folder, _, names in os.walk(path)
        for status in (os.lstat(os.path.join(folder, name)) for name in names)
    }
    return len(files), sum(blocks for _, blocks in files)


def test_a_tree_that_lost_its_objects_inode(either_mode: Disk) -> None:
    """An adoption that meets a rotten object gives a sound one; the entry has the rotten inode still."""
    pipm, (first,) = adopted(either_mode, "a")
    digest = file_digest(first.file(TARGET))
    stored = object_path(pipm.store, digest)
    if not either_mode.reflinks:
        pipm.release(first.path)
    spoil(stored, keep_time=True)
    (second,) = environments(either_mode, "b")
    pipm.adopt(second.path)
    assert file_digest(stored) == digest
    pipm.release(second.path)
    pipm.adopt(first.path)
    pipm("gc", "--keep", "0").expect()
    assert file_digest(stored) == digest
    pipm("verify").expect()
    (row,) = pipm("verify", "--full", "--repair", "--json").expect().json["damaged"]
    assert row["repaired"]
    tree = os.path.join(pipm.store, "v1", "wheels", row["entry"], row["path"])
    assert os.path.samefile(tree, stored)
