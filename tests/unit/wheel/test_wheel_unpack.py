"""Adding wheels to the store: valid ones have the identity of their installation."""

from __future__ import annotations

import os
import random
import time
import zipfile
from typing import TYPE_CHECKING

import pytest
from pipm.adopt.adopt import adopt
from pipm.context.progress import Progress
from pipm.core.digest import Digest
from pipm.core.manifest import FileEntry
from pipm.errors import WheelError
from pipm.fs.link_modes import LinkMode
from pipm.share.add_wheels import add_wheel_file
from pipm.share.adoption import AdoptOptions
from pipm.store.entries import all_entries, entry_of_wheel, load_manifest
from support.archives import (
    DATA,
    FILE_NAME,
    GOOD,
    INFO,
    Archive,
    digest_of_file,
    files_of,
    good,
    install,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Spoil = Callable[[Archive, str], str]


@pytest.fixture(params=["zlib", "isal.isal_zlib"])
def inflating(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra ``fast``, and without."""
    monkeypatch.setattr("pipm.wheel.read_members.zlib", pytest.importorskip(request.param))


@pytest.mark.usefixtures("inflating")
@pytest.mark.parametrize("place", range(40))
def test_damaged_content(tmp_path: Path, place: int) -> None:
    path = good().write(str(tmp_path))
    with open(path, "r+b") as file:
        file.seek(file.read().index(b"METADATA") + 8 + place)
        file.write(b"\xff")
    with pytest.raises(WheelError, match="METADATA"):
        add_wheel_file(str(tmp_path / "store"), path)


@pytest.mark.usefixtures("inflating")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_of_many_chunks(tmp_path: Path, method: int) -> None:
    store = opened(str(tmp_path / "store"))
    mixed = random.Random(1).randbytes(3 << 20) + bytes(5 << 20)
    large = {"demo/mixed.bin": mixed, "demo/zeros.bin": bytes(2 << 20), "demo/again.bin": mixed}
    archive = good()
    archive.method = method
    archive.files |= large
    entry = add_wheel_file(store.path, archive.write(str(tmp_path))).entry
    folder = f"{store.path}/v1/wheels/{entry}"
    for file in load_manifest(store, entry).files:
        content = large.get(file.path.removeprefix("site/"))
        if content is not None:
            with open(f"{folder}/{file.path}", "rb") as stream:
                assert stream.read() == content
        if file.size:
            there, stored = os.stat(f"{folder}/{file.path}"), os.stat(file.object_name, dir_fd=store.objects)
            assert (there.st_ino, there.st_mtime_ns) == (stored.st_ino, file.mtime_ns)


def test_a_sound_wheel(tmp_path: Path) -> None:
    before = time.time()
    store = opened(str(tmp_path / "store"))
    path = good().write(str(tmp_path))
    added = add_wheel_file(store.path, path)
    assert not added.known
    manifest = load_manifest(store, added.entry)
    folder = f"{store.path}/v1/wheels/{added.entry}"
    placed = {
        "site/demo/__init__.py": b"NAME = 'demo'\n",
        "site/demo/empty.py": b"",
        "site/demo/tool.sh": b"#!/bin/sh\n",
        "site/demo/caf\u00e9.py": b"x = 1\n",
        "site/demo.pth": b"import demo\n",
        "site/pure.py": b"p = 1\n",
        "site/native.so": b"\x7fELF",
        "scripts/run": b"#!python\nprint(1)\n",
        "data/share/demo/x.txt": b"data\n",
        "data/etc/demo.conf": b"conf\n",
        "headers/demo.h": b"int x;\n",
        f"site/{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"site/{INFO}/WHEEL": good().wheel,
    }
    executable = {"site/demo/tool.sh", "scripts/run"}
    writable = set(placed) - {
        *("site/demo/__init__.py", "site/demo/empty.py", "site/demo/caf\u00e9.py"),
        *("site/pure.py", "site/native.so"),
    }
    modes = {
        name: (0o555 if name in executable else 0o444) | (0o200 if name in writable else 0) for name in placed
    }
    times = {file.mtime_ns for file in manifest.files}
    assert len(times) == 1  # the moment of the ingest, by the file system's clock
    (now,) = times
    assert before - 1 < now / 10**9 <= time.time()
    assert set(manifest.files) == {
        FileEntry(
            *(name, Digest.of(content), len(content), name in executable),
            *(name in writable, modes[name], now),
        )
        for name, content in placed.items()
    }
    assert files_of(folder) == {*placed, "manifest.json"}
    for name, content in placed.items():
        status = os.stat(f"{folder}/{name}")
        assert digest_of_file(f"{folder}/{name}") == Digest.of(content)
        assert (status.st_mode & 0o7777, status.st_mtime_ns) == (modes[name], now)
        if content:
            name_of = Digest.of(content).object_name(executable=name in executable, writable=name in writable)
            assert os.path.samefile(f"{store.path}/v1/objects/{name_of}", f"{folder}/{name}")
    assert (manifest.name, manifest.version, manifest.tag) == ("demo", "1.0", "py3-none-any")
    assert (manifest.origin, manifest.partial) == (f"wheel {FILE_NAME}", False)
    assert manifest.wheels == (digest_of_file(path),)
    assert entry_of_wheel(store, digest_of_file(path)) == added.entry
    assert os.listdir(f"{store.path}/v1/tmp") == []


def test_a_wheel_is_known_again(tmp_path: Path) -> None:
    store = opened(str(tmp_path / "store"))
    one = good().write(str(tmp_path / "one"))  # once: an archive has the time at which it was written
    first, again = add_wheel_file(store.path, one), add_wheel_file(store.path, one)
    assert (again.entry, again.known) == (first.entry, True)
    packed = good()
    packed.method = zipfile.ZIP_STORED  # another archive of the same files
    path = packed.write(str(tmp_path / "two"))
    assert add_wheel_file(store.path, path).entry == first.entry
    assert len(load_manifest(store, first.entry).wheels) == 2
    assert entry_of_wheel(store, digest_of_file(path)) == first.entry


def test_names_are_normalised(tmp_path: Path) -> None:
    about = b"Metadata-Version: 2.1\nName: My.Demo\nVersion: 1.0.0\n"
    archive = Archive(files={"x.py": b"x"}, info="My.Demo-1.0.dist-info", metadata=about)
    path = archive.write(str(tmp_path), "my_demo-1.0-2-cp312.cp313-abi3-manylinux_2_28_x86_64.whl")
    entry = add_wheel_file(str(tmp_path / "store"), path).entry
    assert entry.startswith("my-demo/1.0/2-cp312.cp313-abi3-manylinux_2_28_x86_64-")


def installed_files() -> dict[str, bytes]:
    """What an installer makes of the good wheel, by RECORD's names."""
    up = "../../.."
    moved = {
        f"{DATA}/purelib/": "",
        f"{DATA}/platlib/": "",
        f"{DATA}/data/": f"{up}/",
        f"{DATA}/scripts/": f"{up}/bin/",
    }
    files: dict[str, bytes] = {}
    for name, content in good().members().items():
        for old, new in moved.items():
            if name.startswith(old):
                files[new + name.removeprefix(old)] = content
                break
        else:
            if not name.startswith(DATA):
                files[name] = content
    files[f"{up}/include/site/python3/demo/demo.h"] = GOOD[f"{DATA}/headers/demo.h"]
    return files


def test_the_identity_of_a_wheel_is_that_of_its_installation(tmp_path: Path) -> None:
    environment = str(tmp_path / "env")
    install(environment, installed_files(), ("demo/tool.sh", "../../../bin/run"))
    store = opened(str(tmp_path / "store"))
    adopt(store.path, environment, AdoptOptions(link_mode=LinkMode.HARDLINK), Progress())
    (adopted,) = all_entries(store)
    partial = load_manifest(store, adopted)
    assert partial.missing == ("scripts/run",)  # an environment has it only with its own path in it
    added = add_wheel_file(store.path, good().write(str(tmp_path)))
    assert (added.entry, added.known) == (adopted, False)
    assert list(all_entries(store)) == [adopted]
    whole = load_manifest(store, adopted)
    assert not whole.partial
    assert {"scripts/run", "headers/demo.h"} <= {file.path for file in whole.files}
    # And the other way round: an environment finds the wheel's entry.
    other = opened(str(tmp_path / "other"))
    entry = add_wheel_file(other.path, good().write(str(tmp_path))).entry
    again = str(tmp_path / "env-2")
    install(again, installed_files(), ("demo/tool.sh", "../../../bin/run"))
    adoption = adopt(other.path, again, AdoptOptions(link_mode=LinkMode.HARDLINK), Progress())
    assert list(all_entries(other)) == [entry]
    assert adoption.surprises == ()


def test_bytecode_of_a_wheel_is_left_out(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    archive = good()
    first = add_wheel_file(store, archive.write(str(tmp_path / "one"))).entry
    archive.files["demo/__pycache__/__init__.cpython-312.pyc"] = b"evil"
    archive.files[f"{DATA}/purelib/__pycache__/pure.cpython-312.pyc"] = b"evil"
    other = str(tmp_path / "other")
    entry = add_wheel_file(other, archive.write(str(tmp_path / "two"))).entry
    assert entry == first
    assert not [name for name in files_of(f"{other}/v1/wheels/{entry}") if name.endswith(".pyc")]


def test_the_executable_bit_is_read_as_pip_reads_it(tmp_path: Path) -> None:
    archive = Archive(files={"a": b"a", "b": b"b", "c": b"c"}, modes={"a": 0o755, "b": 0o100711, "c": 0})
    store = opened(str(tmp_path / "store"))
    manifest = load_manifest(store, add_wheel_file(store.path, archive.write(str(tmp_path))).entry)
    assert {file.path for file in manifest.files if file.executable} == {"site/b"}
