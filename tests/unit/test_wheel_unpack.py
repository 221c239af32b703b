"""Letting wheels into the store: sound ones get the identity of their installation, hostile ones nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import zipfile
from typing import TYPE_CHECKING

import pytest
from archives import (
    CENTRAL,
    DATA,
    EXECUTABLE,
    FILE_NAME,
    INFO,
    Archive,
    edit,
    install,
    patch_central,
    record_row,
    spoil_content,
)

from dedupe.core.digest import Digest
from dedupe.core.manifest import FileEntry
from dedupe.errors import FileSystemError, WheelError
from dedupe.fs.links import LinkMode
from dedupe.ops.add import add_wheel_file
from dedupe.ops.adopt import adopt
from dedupe.ops.adoption import AdoptOptions
from dedupe.ops.progress import Progress
from dedupe.store.layout import Store, open_store
from dedupe.store.wheels import all_entries, entry_of_wheel, load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Spoil = Callable[[Archive, str], str]

GOOD = {
    "demo/__init__.py": b"NAME = 'demo'\n",
    "demo/empty.py": b"",
    "demo/tool.sh": b"#!/bin/sh\n",
    "demo/caf\u00e9.py": b"x = 1\n",
    "demo.pth": b"import demo\n",
    f"{DATA}/purelib/pure.py": b"p = 1\n",
    f"{DATA}/platlib/native.so": b"\x7fELF",
    f"{DATA}/scripts/run": b"#!python\nprint(1)\n",
    f"{DATA}/data/share/demo/x.txt": b"data\n",
    f"{DATA}/data/etc/demo.conf": b"conf\n",
    f"{DATA}/headers/demo.h": b"int x;\n",
}


def good() -> Archive:
    return Archive(files=dict(GOOD), modes={"demo/tool.sh": EXECUTABLE, f"{DATA}/scripts/run": EXECUTABLE})


def opened(path: str) -> Store:
    made = open_store(path)
    assert made is not None
    return made


def files_of(folder: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(base, name), folder)
        for base, _, names in os.walk(folder)
        for name in names
    }


def digest_of_file(path: str) -> Digest:
    with open(path, "rb") as stream:
        return Digest.of(stream.read())


def test_a_sound_wheel(tmp_path: Path) -> None:
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
    assert set(manifest.files) == {
        FileEntry(name, Digest.of(content), len(content), name in executable)
        for name, content in placed.items()
    }
    assert files_of(folder) == {*placed, "manifest.json"}
    for name, content in placed.items():
        status = os.stat(f"{folder}/{name}")
        assert digest_of_file(f"{folder}/{name}") == Digest.of(content)
        assert status.st_mode & 0o7777 == (0o555 if name in executable else 0o444)
        assert status.st_mtime_ns == Digest.of(content).mtime_ns
        if content:
            name_of = Digest.of(content).object_name(executable=name in executable)
            assert os.path.samefile(f"{store.path}/v1/objects/{name_of}", f"{folder}/{name}")
    assert (manifest.name, manifest.version, manifest.tag) == ("demo", "1.0", "py3-none-any")
    assert (manifest.origin, manifest.partial) == (f"wheel {FILE_NAME}", False)
    assert manifest.wheels == (digest_of_file(path),)
    assert entry_of_wheel(store, digest_of_file(path)) == added.entry
    assert os.listdir(f"{store.path}/v1/tmp") == []


def test_a_wheel_is_known_again(tmp_path: Path) -> None:
    store = opened(str(tmp_path / "store"))
    first = add_wheel_file(store.path, good().write(str(tmp_path / "one")))
    again = add_wheel_file(store.path, good().write(str(tmp_path / "one")))
    assert (again.entry, again.known) == (first.entry, True)
    packed = good()
    packed.method = zipfile.ZIP_STORED  # another archive of the same files
    path = packed.write(str(tmp_path / "two"))
    assert add_wheel_file(store.path, path).entry == first.entry
    assert len(load_manifest(store, first.entry).wheels) == 2
    assert entry_of_wheel(store, digest_of_file(path)) == first.entry


def test_names_are_normalised(tmp_path: Path) -> None:
    archive = Archive(files={"x.py": b"x"}, info="My.Demo-1.0.dist-info")
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


def member(name: str, *, content: bytes = b"evil", mode: int | None = None) -> Spoil:
    """A wheel with one member more, which RECORD names."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.files[name] = content
        if mode is not None:
            archive.modes[name] = mode
        return archive.write(folder)

    return spoil


def also(*names: str) -> Spoil:
    """A wheel with members of these names, which need not be different."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.extra = [(name, b"x") for name in names]
        rows = "".join(record_row(name, b"x") for name in names)
        archive.record = (archive.rows() + rows).encode()
        return archive.write(folder)

    return spoil


def renamed(old: str, new: bytes) -> Spoil:
    """A wheel in whose directories a member has a name that `zipfile` does not write."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.files[old] = b"x"
        path = archive.write(folder)
        edit(path, old.encode(), new)
        return path

    return spoil


def record(change: Callable[[str], str]) -> Spoil:
    """A wheel with another RECORD."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.record = change(archive.rows()).encode()
        return archive.write(folder)

    return spoil


def central(offset: int, layout: str, value: int, *, name: str = "demo/__init__.py") -> Spoil:
    """A wheel whose directory lies about a member."""

    def spoil(archive: Archive, folder: str) -> str:
        path = archive.write(folder)
        patch_central(path, name, offset, layout, value)
        return path

    return spoil


def wheel_file(content: bytes) -> Spoil:
    """A wheel with another WHEEL file."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.wheel = content
        return archive.write(folder)

    return spoil


def info(name: str) -> Spoil:
    """A wheel whose metadata folder has another name."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.info = name
        return archive.write(folder)

    return spoil


def method(number: int) -> Spoil:
    """A wheel that is packed in another way."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.method = number
        return archive.write(folder)

    return spoil


def corrupt(archive: Archive, folder: str) -> str:
    archive.files["demo/large.py"] = b"x = 1\n" * 500
    path = archive.write(folder)
    spoil_content(path, "demo/large.py")
    return path


def without_record(archive: Archive, folder: str) -> str:
    archive.record = b""
    return archive.write(folder)


def truncated(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    os.truncate(path, os.path.getsize(path) // 2)
    return path


def cut_at_the_end(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    os.truncate(path, os.path.getsize(path) - 3)
    return path


def no_zip(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    with open(path, "wb") as file:
        file.write(b"<html>Not found</html>")
    return path


def bomb_record(archive: Archive, folder: str) -> str:
    archive.record = b"\n" * ((64 << 20) + 1)
    return archive.write(folder)


def better_row(algorithm: str, content: bytes) -> str:
    """A row of RECORD for the archive's first module, by another algorithm."""
    raw = hashlib.new(algorithm, content).digest()
    digest = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return f"demo/__init__.py,{algorithm}={digest},{len(content)}\n"


INIT = record_row("demo/__init__.py", GOOD["demo/__init__.py"])
ODD = "is not a name that a wheel may have"
TWICE = "is there twice"
HOSTILE: dict[str, tuple[Spoil, str, str]] = {
    "absolute": (member("/etc/evil"), "'/etc/evil'", ODD),
    "up": (member("../evil"), "'../evil'", ODD),
    "up in the middle": (member("demo/../../evil"), "'demo/../../evil'", ODD),
    "dot": (member("./evil.py"), "'./evil.py'", ODD),
    "double slash": (member("demo//evil.py"), "'demo//evil.py'", ODD),
    "backslash": (member("demo\\evil.py"), r"'demo\\evil.py'", ODD),
    "drive": (member("C:/evil.py"), "'C:/evil.py'", ODD),
    "newline": (member("demo/e\nvil.py"), r"'demo/e\nvil.py'", ODD),
    "escape": (member("demo/\x1b[31m.py"), r"'demo/\x1b[31m.py'", ODD),
    "turned around": (member("demo/\u202eyp.live"), "demo/", ODD),
    "NUL": (renamed("demo/e_vil.py", b"demo/e\0vil.py"), r"'demo/e\x00vil.py'", ODD),
    "no UTF-8": (renamed("demo/\u00e9\u00e9.py", b"demo/\xff\xff\xff\xff.py"), "", "is not a sound wheel"),
    "twice": (also("demo/x.py", "demo/x.py"), "'demo/x.py'", TWICE),
    "twice but for case": (also("demo/x.py", "demo/X.py"), "'demo/X.py'", TWICE),
    "twice but for sharp s": (also("demo/stra\u00dfe", "demo/STRASSE"), "'demo/STRASSE'", TWICE),
    "twice but for composition": (also("caf\u00e9.py", "cafe\u0301.py"), "cafe", TWICE),
    "a file that is a folder": (member("demo", content=b"x"), "demo", "lands where another"),
    "twice by scheme": (member("pure.py"), "'pure.py'", "lands where another"),
    "symlink": (member("demo/link.py", mode=0o120777), "'demo/link.py'", "symbolic link"),
    "device": (member("demo/null", mode=0o020666), "'demo/null'", "special file"),
    "fifo": (member("demo/fifo", mode=0o010666), "'demo/fifo'", "special file"),
    "setuid": (member("demo/su", mode=0o104755), "'demo/su'", "setuid"),
    "setgid": (member("demo/sg", mode=0o102755), "'demo/sg'", "setuid or setgid"),
    "encrypted": (central(8, "<H", 0x1), "'demo/__init__.py'", "is encrypted"),
    "bzip2": (method(zipfile.ZIP_BZIP2), "demo/", "neither stored nor deflated"),
    "lzma": (method(zipfile.ZIP_LZMA), "demo/", "neither stored nor deflated"),
    "RECORD lies about content": (
        record(lambda rows: rows.replace(INIT, record_row("demo/__init__.py", b"NAME = 'evil'\n"))),
        "'demo/__init__.py'",
        "is not what RECORD says",
    ),
    "RECORD lies about a size": (
        record(lambda rows: rows.replace(INIT, INIT.replace(",14\n", ",15\n"))),
        "'demo/__init__.py'",
        "is not what RECORD says",
    ),
    "RECORD has not all": (
        record(lambda rows: rows.replace(INIT, "")),
        "'demo/__init__.py'",
        "not in RECORD",
    ),
    "RECORD has more": (
        record(lambda rows: rows + record_row("demo/none.py", b"")),
        "'demo/none.py'",
        "in RECORD but not in the archive",
    ),
    "RECORD leaves the wheel": (
        record(lambda rows: rows + record_row("../../../victim", b"")),
        "'../../../victim'",
        "not in the archive",
    ),
    "RECORD has no hash": (
        record(lambda rows: rows.replace(INIT, "demo/__init__.py,,\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "RECORD has a weak hash": (
        record(lambda rows: rows.replace(INIT, "demo/__init__.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,14\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "RECORD is missing": (without_record, f"'{INFO}/RECORD'", "is missing"),
    "RECORD has a name without end": (record(lambda rows: rows + "x" * 200_000), "xxx…'", "no sha256"),
    "RECORD has a size without end": (
        record(lambda rows: rows.replace(INIT, INIT.replace(",14\n", f",{'1' * 5000}\n")) + "demo/y,,\n"),
        "'demo/y'",
        "no sha256",
    ),
    "RECORD is a bomb": (bomb_record, f"'{INFO}/RECORD'", "larger than 64 MiB"),
    "smaller than it says": (central(24, "<L", 5000), "'demo/__init__.py'", "smaller than it says"),
    "larger than it says": (central(24, "<L", 3), "'demo/__init__.py'", "Bad CRC-32"),
    "another checksum": (central(16, "<L", 1), "'demo/__init__.py'", "Bad CRC-32"),
    "another place": (central(42, "<L", 5), "'demo/__init__.py'", "is not sound"),
    "a later zip": (central(6, "<H", 99), "", "zip file version 9.9"),
    "WHEEL is of the future": (wheel_file(b"Wheel-Version: 2.0\n"), f"'{INFO}/WHEEL'", "wheel format 2.0"),
    "WHEEL is of the past": (wheel_file(b"Wheel-Version: 0.9\n"), f"'{INFO}/WHEEL'", "wheel format 0.9"),
    "WHEEL says nothing": (wheel_file(b"Tag: py3-none-any\n"), f"'{INFO}/WHEEL'", "no Wheel-Version"),
    "another name": (info("other-1.0.dist-info"), "'other-1.0.dist-info'", "does not fit"),
    "another version": (info("demo-1.1.dist-info"), "'demo-1.1.dist-info'", "does not fit"),
    "no version": (info("demo.dist-info"), "'demo.dist-info'", "does not fit"),
    "no metadata": (info("demo-1.0.info"), "", "has 0 dist-info folders"),
    "two metadata folders": (member("demo-2.0.dist-info/METADATA"), "", "has 2 dist-info folders"),
    "metadata by the back door": (
        member(f"{DATA}/purelib/other-2.0.dist-info/METADATA"),
        "other-2.0.dist-info/METADATA'",
        "metadata where none may be",
    ),
    "RECORD by the back door": (
        member(f"{DATA}/platlib/{INFO}/RECORD"),
        f"'{DATA}/platlib/{INFO}/RECORD'",
        "metadata where none may be",
    ),
    "pyvenv.cfg": (member(f"{DATA}/data/pyvenv.cfg"), f"'{DATA}/data/pyvenv.cfg'", "pyvenv.cfg"),
    "PYVENV.CFG": (member(f"{DATA}/data/PyVenv.cfg"), f"'{DATA}/data/PyVenv.cfg'", "pyvenv.cfg"),
    "an interpreter": (
        member(f"{DATA}/data/bin/python3.11"),
        f"'{DATA}/data/bin/python3.11'",
        "interpreter",
    ),
    "a script that is the interpreter": (
        member(f"{DATA}/data/Scripts/Python.exe"),
        f"'{DATA}/data/Scripts/Python.exe'",
        "interpreter",
    ),
    "RECORD lies by a better hash": (
        record(lambda rows: rows.replace(INIT, better_row("sha512", b"NAME = 'evil'\n"))),
        "'demo/__init__.py'",
        "is not what RECORD says",
    ),
    "a better hash that is cut": (
        record(lambda rows: rows.replace(INIT, better_row("sha512", b"")[:60] + ",14\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "unknown scheme": (member(f"{DATA}/magic/x"), f"'{DATA}/magic/x'", "no scheme"),
    "no scheme": (member(f"{DATA}/x"), f"'{DATA}/x'", "no scheme"),
    "another's schemes": (member("other-2.0.data/scripts/x"), "'other-2.0.data/scripts/x'", "no scheme"),
    "no zip": (no_zip, "", "is not a sound wheel"),
    "truncated": (truncated, "", "is not a sound wheel"),
    "cut at the end": (cut_at_the_end, "", "is not a sound wheel"),
    "corrupt": (corrupt, "'demo/large.py'", "is not sound"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_wheels(tmp_path: Path, empty_store: Store, case: str) -> None:
    spoil, name, why = HOSTILE[case]
    path = spoil(good(), str(tmp_path))
    with pytest.raises(WheelError) as caught:
        add_wheel_file(empty_store.path, path)
    message = caught.value.message
    assert message.startswith(FILE_NAME)
    assert name in message
    assert why in message
    assert len(message) < 600
    assert caught.value.hint
    assert_untouched(empty_store)
    assert os.listdir(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_better_hashes_are_checked(tmp_path: Path, algorithm: str) -> None:
    archive = good()
    better = better_row(algorithm, GOOD["demo/__init__.py"])
    archive.record = archive.rows().replace(INIT, better).encode()
    store = str(tmp_path / "store")
    entry = add_wheel_file(store, archive.write(str(tmp_path))).entry
    manifest = load_manifest(opened(store), entry)
    assert FileEntry("site/demo/__init__.py", Digest.of(GOOD["demo/__init__.py"]), 14, executable=False) in (
        manifest.files
    )


def test_a_bomb_that_tells_its_size(
    tmp_path: Path, empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstatvfs
    nothing = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    path = good().write(str(tmp_path))
    monkeypatch.setattr(os, "fstatvfs", lambda _: nothing)
    with pytest.raises(WheelError, match="MiB are free"):
        add_wheel_file(empty_store.path, path)
    monkeypatch.setattr(os, "fstatvfs", real)
    assert_untouched(empty_store)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that stays empty."""
    return opened(str(tmp_path_factory.mktemp("hostile") / "store"))


def assert_untouched(store: Store) -> None:
    assert files_of(store.path) == {"CACHEDIR.TAG", "README.txt", "lock"}
    assert os.listdir(f"{store.path}/v1/tmp") == os.listdir(f"{store.path}/v1/wheels") == []


@pytest.mark.parametrize(
    "name",
    [
        "demo.whl",
        "demo-1.0.whl",
        "demo-1.0-py3-none.whl",
        "demo-1.0-py3-none-any.zip",
        "demo-one-py3-none-any.whl",
        "-1.0-py3-none-any.whl",
        "de mo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any (1).whl",
        "demo-1.0-py3-none-\u00e4ny.whl",
        "demo-1.0-x-py3-none-any-a-b.whl",
        "demo-1.0-py3-none-any\n.whl",
    ],
)
def test_what_is_not_named_like_a_wheel(tmp_path: Path, empty_store: Store, name: str) -> None:
    path = good().write(str(tmp_path), name)
    with pytest.raises(WheelError) as caught:
        add_wheel_file(empty_store.path, path)
    assert caught.value.message.startswith(name)
    assert caught.value.hint == "name-version-python-abi-platform.whl"
    assert_untouched(empty_store)


def test_what_is_no_file(tmp_path: Path, empty_store: Store) -> None:
    os.mkdir(tmp_path / FILE_NAME)
    for path in (tmp_path / "none.whl", tmp_path / FILE_NAME):
        with pytest.raises(WheelError, match="There is no wheel"):
            add_wheel_file(empty_store.path, str(path))


def test_any_damage_is_a_bad_wheel(tmp_path: Path, empty_store: Store) -> None:
    """Bytes changed at random are refused with a word, or change nothing that matters."""
    path = good().write(str(tmp_path))
    with open(path, "rb") as stream:
        sound = stream.read()
    source = random.Random(4)
    store = opened(str(tmp_path / "store"))
    entry = add_wheel_file(store.path, path).entry
    expected = load_manifest(store, entry).files
    directory = sound.index(CENTRAL)
    refused = 0
    for number in range(150):
        data = bytearray(sound)
        for _ in range(source.choice((1, 1, 8))):
            first = directory if number % 2 else 0
            data[source.randrange(first, len(data))] = source.randrange(256)
        with open(path, "wb") as file:
            file.write(data)
        try:
            added = add_wheel_file(store.path, path)
        except WheelError:
            refused += 1
        else:
            same = load_manifest(store, added.entry)
            assert {f.digest for f in same.files} == {f.digest for f in expected}
    assert refused > 50
    assert os.listdir(f"{store.path}/v1/tmp") == []
    assert_untouched(empty_store)


def test_a_full_disk_publishes_nothing(
    tmp_path: Path, empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good().write(str(tmp_path))

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dedupe.ops.add.sync_file_system", full)
    with pytest.raises(FileSystemError, match="No space") as caught:
        add_wheel_file(empty_store.path, path)
    assert caught.value.hint
    assert_untouched(empty_store)


def test_the_archive_is_read_through_one_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is a promise: what is unpacked is what was hashed."""
    path = good().write(str(tmp_path))
    evil = Archive(files={"evil.py": b"evil"}).write(str(tmp_path / "evil"))
    real = zipfile.ZipFile

    def exchange(source: object) -> zipfile.ZipFile:
        os.replace(evil, path)
        return real(source)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(zipfile, "ZipFile", exchange)
    store = opened(str(tmp_path / "store"))
    manifest = load_manifest(store, add_wheel_file(store.path, path).entry)
    assert "site/evil.py" not in {file.path for file in manifest.files}


def same_site(tmp_path: Path, data: bytes) -> str:
    archive = good()
    archive.files[f"{DATA}/data/share/demo/x.txt"] = data
    return archive.write(str(tmp_path / data.decode()))


def test_a_wheel_never_stands_for_another_with_other_data_files(tmp_path: Path) -> None:
    store = opened(str(tmp_path / "store"))
    add_wheel_file(store.path, same_site(tmp_path, b"evil"))
    path = same_site(tmp_path, b"good")
    with pytest.raises(WheelError, match="other data files"):
        add_wheel_file(store.path, path)
    assert entry_of_wheel(store, digest_of_file(path)) is None
