"""Adopt and release while programs use the environment."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import pytest
from support.installers import Wheelhouse, uv_environment
from support.pipm import PARTLY, Pipm
from support.readers import Program, hammering
from support.snapshot import assert_kept, snapshot
from support.store import in_store, unshared
from support.synthetic import Environment, install, make_environment, package

if TYPE_CHECKING:
    from support.disks import Disk

TARGET = "alpha/data/table.bin"


def with_alpha(path: str, *, modules: int = 12) -> Environment:
    """An environment with one distribution and its bytecode."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha", modules=modules))
    environment.compile()
    return environment


def test_no_reader_ever_sees_a_missing_or_short_file(filesystem: Disk) -> None:
    """Two environments: the first is taken in, the second one's files are replaced."""
    environments = [with_alpha(filesystem / name, modules=70) for name in ("one", "two")]
    files = {
        f"{environment.path}/{name}": entry.digest
        for environment in environments
        for name, entry in snapshot(environment.path).items()
        if entry.kind == "file" and not name.endswith(".pyc")
    }
    pipm = Pipm(store=filesystem / "store")
    before = {path: os.stat(path).st_ino for path in files}
    moved = 0
    with hammering(files, filesystem / "stop") as counts:
        for _ in range(3):
            pipm.adopt(*(environment.path for environment in environments))
            moved = sum(os.stat(path).st_ino != inode for path, inode in before.items())
            for environment in environments:
                pipm.release(environment.path)
    assert counts["errors"] == []
    assert counts["rounds"] >= 3
    assert counts["reads"] > 1000
    assert moved > 50 or filesystem.reflinks


def test_imports_go_on_during_adopt(filesystem: Disk) -> None:
    environment = with_alpha(filesystem / "env", modules=60)
    names = [name for name in package("alpha", modules=60) if name.startswith("alpha/module_")]
    modules = [name[:-3].replace("/", ".") for name in names]
    code = (
        "import importlib, alpha.module_1\n"
        "wait()\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(alpha.module_1.function_0())\n"
    )
    program = Program(environment.python, code)
    try:
        program.until_it_waits()
        Pipm(store=filesystem / "store").adopt(environment.path)
        assert program.finish().strip().isdigit()
    finally:
        program.kill()


def test_a_mapped_file_keeps_its_bytes(filesystem: Disk) -> None:
    first, second = with_alpha(filesystem / "first"), with_alpha(filesystem / "second")
    content = package("alpha")[TARGET]
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path)
    with (
        open(second.file(TARGET), "rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC) as mapped,
    ):
        assert pipm.adopt(second.path).left == {}  # a reader is no reason to leave a file
        assert mapped[:] == content
        pipm.release(second.path)
        assert mapped[:] == content


@pytest.mark.parametrize("writer", ["descriptor", "mapping"])
def test_a_file_open_for_writing_is_left_and_named(filesystem: Disk, writer: str) -> None:
    first, second = with_alpha(filesystem / "first"), with_alpha(filesystem / "second")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path)
    path = second.file(TARGET)
    mapping = "m = mmap.mmap(f.fileno(), 0)\nf.close()\n" if writer == "mapping" else ""
    hold = f"{mapping}wait()\n"
    program = Program(second.python, f"import mmap\nf = open({path!r}, 'r+b')\n{hold}\n")
    before = snapshot(second.path)
    try:
        program.until_it_waits()
        result = pipm.adopt(second.path, codes=(PARTLY,))
        assert [name for name in result.left if name.endswith(TARGET)] == list(result.left)
        (reason,) = result.left.values()
        assert "writ" in reason
        assert not in_store(path, pipm.store)
        assert unshared(second.site, pipm.store) == [TARGET]
        program.finish()
    finally:
        program.kill()
    assert_kept(before, second.path)
    pipm.adopt(second.path)
    assert in_store(path, pipm.store)


def test_what_a_writer_writes_after_adopt_is_only_there(filesystem: Disk) -> None:
    """As in Nix: a process that opened the file earlier writes after it was linked."""
    first, second = with_alpha(filesystem / "first"), with_alpha(filesystem / "second")
    pipm = Pipm(store=filesystem / "store")
    path = first.file(TARGET)
    code = f"f = open({path!r}, 'r+b', buffering=0)\nwait()\nf.write(b'late')\n"
    program = Program(first.python, code)
    before = snapshot(second.path)
    try:
        program.until_it_waits()
        pipm.adopt(first.path, codes=(PARTLY,))
        pipm.adopt(second.path)
        program.finish()
    finally:
        program.kill()
    with open(path, "rb") as file:
        assert file.read(4) == b"late"
    assert_kept(before, second.path)


@pytest.mark.network
def test_numpy_and_scipy_at_work(either_mode: Disk, scipy_wheelhouse: Wheelhouse) -> None:
    options = (*scipy_wheelhouse.options(), "--offline")
    cache = either_mode / "cache"
    paths = [either_mode / "first", either_mode / "second"]
    environments = [uv_environment(path, *options, "numpy", "scipy", cache=cache) for path in paths]
    code = (
        "import numpy, scipy.linalg\n"
        "a = numpy.random.default_rng(1).random((200, 200))\n"
        "scipy.linalg.inv(a)\n"
        "wait()\n"
        "import numpy.polynomial, scipy.optimize, scipy.stats, scipy.sparse.linalg, scipy.fft\n"
        "print(numpy.allclose(a @ scipy.linalg.inv(a), numpy.eye(200)))\n"
        "print(round(scipy.stats.norm.cdf(0), 3), abs(scipy.fft.fft(a)).max() > 0)\n"
    )
    program = Program(environments[1].python, code)
    try:
        program.until_it_waits()
        pipm = Pipm(store=either_mode / "store")
        assert pipm.adopt(*paths).all_left == {}
        assert program.finish() == "True\n0.5 True\n"
    finally:
        program.kill()
    assert unshared(environments[1].site, pipm.store) == []


@pytest.fixture(scope="module")
def scipy_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """numpy and scipy."""
    house = Wheelhouse(path=str(tmp_path_factory.mktemp("scipy-wheels")))
    house.fetch("numpy==2.3.3", "scipy==1.16.2")
    return house
