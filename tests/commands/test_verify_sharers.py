"""Damage that affects other files: wrong code and its bytecode, attributes, merged inodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import FAILED, Pipm
from support.snapshot import file_digest
from support.store import damage, object_path
from support.synthetic import Environment, Files, import_all, install, make_environment, make_wheel, write
from support.tools import interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

FILES: Files = {
    "alpha/__init__.py": b"",
    "alpha/m1.py": b"VALUE = 1  # the value\n" + b"# a comment\n" * 300,
    "alpha/table.bin": bytes(range(256)) * 40,
}
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CACHE_DIR": "/nonexistent"}
ASK = "from alpha.m1 import VALUE; print(VALUE)"


def environment(disk: Disk, name: str, files: Files = FILES, spec: str = "alpha==1.0") -> Environment:
    made = make_environment(disk / name)
    install(made, spec, files)
    made.compile()
    return made


def overwrite(path: str, *, keep_time: bool) -> None:
    """Change the value in place, with the same size, like an editor that overrides the mode."""
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.write(b"VALUE = 9")
    os.chmod(path, status.st_mode & 0o777)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("keep_time", [True, False])
def test_what_runs_is_what_the_source_says(either_mode: Disk, *, keep_time: bool) -> None:
    first, second, third = (environment(either_mode, name) for name in "abc")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, second.path, third.path, mode="hardlink")
    pipm.release(third.path)
    overwrite(first.file("alpha/m1.py"), keep_time=keep_time)
    os.unlink(second.bytecode("alpha/m1.py"))
    second.run(ASK)  # Python compiles the wrong source, and keeps that
    pipm("verify", "--full").expect(FAILED)
    paths = (first.path, second.path, third.path)  # the store lost sight of the third
    pipm("verify", "--full", "--repair", *paths).expect()
    fresh = environment(either_mode, "d")
    pipm.adopt(fresh.path, mode="hardlink")
    for one in (first, second, third, fresh):
        assert file_digest(one.file("alpha/m1.py")) == file_digest(third.file("alpha/m1.py"))
        assert one.run(ASK) == "1\n"
    pipm("verify", "--full").expect()
    assert damage(pipm.store) == []


def test_sharers_that_are_not_named_are_mended_too(either_mode: Disk) -> None:
    first, second = environment(either_mode, "a"), environment(either_mode, "b")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, second.path, mode="hardlink")
    clean = environment(either_mode, "clean")
    overwrite(first.file("alpha/m1.py"), keep_time=False)
    (row,) = pipm("verify", "--repair", "--json", first.path, clean.path).expect().json["damaged"]
    assert row["environments"] == [first.path, second.path]
    assert [one.run(ASK) for one in (first, second)] == ["1\n", "1\n"]
    assert pipm("verify", "--full", "--json").expect().json["modified"] == []


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_a_damaged_source_is_compiled_for_nobody(tmp_path: Path, mode: str) -> None:
    """Its time is right, so reading it is the only way to see it."""
    wheel = make_wheel(str(tmp_path / "wheels"), "alpha==1.0", FILES)
    lock = pylock(str(tmp_path), [wheel])
    pipm = Pipm(store=str(tmp_path / "store"), environ=NO_INDEX)
    pipm("store", "add", wheel).expect()
    stored = object_path(pipm.store, file_digest(environment_file(tmp_path)))
    overwrite(stored, keep_time=True)
    refused = pipm("sync", lock, "--env", str(tmp_path / "env"), "--link-mode", mode).expect(FAILED)
    assert "alpha/m1.py was changed in place" in refused.err
    assert "pipm verify --full --repair" in refused.err
    assert [names for _, _, names in os.walk(f"{pipm.store}/v1/bytecode") if names] == []
    make_wheel(str(tmp_path / "index"), "alpha==1.0", FILES)
    pipm = Pipm(store=pipm.store, environ={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")})
    pipm("verify", "--full", "--repair").expect()
    pipm("sync", lock, "--env", str(tmp_path / "env"), "--link-mode", mode).expect()
    assert Environment(path=str(tmp_path / "env")).run(ASK) == "1\n"


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_a_damaged_source_is_compiled_for_no_further_interpreter(tmp_path: Path, mode: str) -> None:
    """The store has sound bytecode for one interpreter; another one would compile what is there now."""
    other = interpreter("3.12")
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path / "wheels"), "alpha==1.0", FILES)])
    pipm = Pipm(store=str(tmp_path / "store"), environ=NO_INDEX)
    pipm("sync", lock, "--env", str(tmp_path / "one"), "--link-mode", mode).expect()
    (pool,) = os.listdir(f"{pipm.store}/v1/bytecode")
    overwrite(object_path(pipm.store, file_digest(environment_file(tmp_path))), keep_time=True)
    words = ("--env", str(tmp_path / "two"), "--python", other, "--link-mode", mode)
    refused = pipm("sync", lock, *words).expect(FAILED)
    assert "alpha/m1.py was changed in place" in refused.err
    compiled = [
        name
        for folder, _, names in os.walk(f"{pipm.store}/v1/bytecode")
        for name in names
        if not folder.startswith(f"{pipm.store}/v1/bytecode/{pool}")
    ]
    assert compiled == []


def environment_file(tmp_path: Path) -> str:
    path = str(tmp_path / "m1.py")
    write(path, FILES["alpha/m1.py"])
    return path


def test_bytecode_that_no_interpreter_survives_is_the_only_one_blamed(either_mode: Disk) -> None:
    first = environment(either_mode, "a")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path)
    torn = first.bytecode("alpha/m1.py")
    with open(torn, "rb") as file:
        data = file.read()
    status = os.stat(torn)
    os.chmod(torn, 0o644)
    with open(torn, "r+b") as file:
        file.truncate()
        file.write(data[:16] + b"\xe9" + b"\xff" * 50)
    os.chmod(torn, 0o444)
    os.utime(torn, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(pipm("verify", "--full", "--json").expect(FAILED).json["damaged"]) == 1
    pipm("verify", "--full", "--repair").expect()
    assert first.run(ASK) == "1\n"


def one_inode(*paths: str) -> None:
    """Make the files one inode, as a program that looks for duplicates does."""
    for path in paths[1:]:
        if not os.path.samefile(paths[0], path):
            os.link(paths[0], f"{path}.new")
            os.replace(f"{path}.new", path)


def test_a_plain_and_an_executable_file_that_were_made_one(either_mode: Disk) -> None:
    script = b"#!/bin/sh\necho hi\n" * 200
    first, second = make_environment(either_mode / "a"), make_environment(either_mode / "b")
    install(first, "alpha==1.0", {"alpha/t.sh": script}, executable=("alpha/t.sh",))
    install(second, "beta==1.0", {"beta/t.sh": script})
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, second.path, mode="hardlink")
    one, other = first.file("alpha/t.sh"), second.file("beta/t.sh")
    before = os.stat(one).st_mode, os.stat(other).st_mode
    digest = file_digest(one)
    trees = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(f"{pipm.store}/v1/wheels")
        for name in names
        if name == "t.sh"
    ]
    objects = [object_path(pipm.store, digest, executable=flag) for flag in (True, False)]
    one_inode(one, other, *trees, *objects)
    pipm("verify").expect(FAILED)
    pipm("verify", "--repair").expect()
    pipm("verify", "--full").expect()
    assert (os.stat(one).st_mode, os.stat(other).st_mode) == before
    assert not os.path.samefile(one, other)
    assert os.path.samefile(one, objects[0])
    assert os.path.samefile(other, objects[1])
    assert damage(pipm.store) == []


def test_a_strange_name_among_the_objects(tmp_path: Path) -> None:
    first = make_environment(str(tmp_path / "a"))
    install(first, "alpha==1.0", FILES)
    pipm = Pipm(store=str(tmp_path / "store"), environ=NO_INDEX)
    pipm.adopt(first.path)
    stored = object_path(pipm.store, file_digest(first.file("alpha/m1.py")))
    for command in (("verify", "--repair"), ("gc",)):
        os.link(stored, f"{stored}.new")
        assert pipm("verify", "--json").expect().json["unexpected"] == [f"{stored}.new"]
        pipm(*command).expect()
        assert not os.path.exists(f"{stored}.new")
        assert os.path.exists(stored)


@pytest.mark.parametrize("sharers", [1, 2])
def test_attributes_that_came_on_a_shared_file(either_mode: Disk, sharers: int) -> None:
    made = [environment(either_mode, name) for name in "ab"[:sharers]]
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(*(one.path for one in made), mode="hardlink")
    path = made[0].file("alpha/m1.py")
    os.setxattr(path, "user.note", b"mine")
    (row,) = pipm("verify", "--json").expect(FAILED).json["damaged"]
    assert row["flaw"] == "has extended attributes, an ACL or capabilities"
    assert row["environments"] == [one.path for one in made]
    (row,) = pipm("verify", "--repair", "--json").expect().json["damaged"]
    assert row["kept_in"] == (made[0].path if sharers == 1 else None)
    stored = object_path(pipm.store, file_digest(path))
    assert os.listxattr(stored) == []
    assert os.listxattr(path) == (["user.note"] if sharers == 1 else [])
    assert os.path.samefile(stored, path) is (sharers > 1)
    assert pipm("verify", "--json").expect().json["damaged"] == []
    fresh = environment(either_mode, "c")
    pipm.adopt(fresh.path, mode="hardlink")
    assert os.listxattr(fresh.file("alpha/m1.py")) == []
    for one in made:
        import_all(one)


def test_attributes_that_came_on_shared_bytecode(either_mode: Disk) -> None:
    first, second = environment(either_mode, "a"), environment(either_mode, "b")
    pipm = Pipm(store=either_mode / "store", environ=NO_INDEX)
    pipm.adopt(first.path, second.path)
    os.setxattr(first.bytecode("alpha/m1.py"), "user.note", b"mine")
    pipm("verify").expect(FAILED)
    pipm("verify", "--repair").expect()
    assert os.listxattr(second.bytecode("alpha/m1.py")) == []
    pipm("verify").expect()


def test_data_that_a_program_writes_among_modules_is_a_note(tmp_path: Path) -> None:
    """Twisted writes ``dropin.cache`` beside its plug-ins."""
    first = make_environment(str(tmp_path / "a"))
    install(first, "alpha==1.0", FILES)
    pipm = Pipm(store=str(tmp_path / "store"), environ=NO_INDEX)
    pipm.adopt(first.path, mode="finder")
    for collect in (False, True):
        (entry,) = [folder for folder, _, names in os.walk(f"{pipm.store}/v1/wheels") if "m1.py" in names]
        write(f"{entry}/dropin.cache", b"a cache")
        found = pipm("verify", "--json").expect().json
        assert (found["damaged"], found["unexpected"]) == ([], [f"{entry}/dropin.cache"])
        if collect:
            pipm("gc").expect()
        else:
            (moved,) = pipm("verify", "--repair", "--json").expect().json["put_aside"]
            assert os.path.getsize(moved) == 7
        assert not os.path.exists(f"{entry}/dropin.cache")
        assert pipm("verify", "--json").expect().json["unexpected"] == []
