"""Wheels that are refused, and unusual ones that are accepted."""

from __future__ import annotations

import hashlib
import os
import random
import re
import zipfile
from typing import TYPE_CHECKING

import pytest
from hostile_wheels import HOSTILE, INIT, better_row
from pipm.core.digest import Digest
from pipm.errors import FileSystemError, WheelError
from pipm.share.add_wheels import StoredWheel, add_wheel_file, store_wheels
from pipm.store.entries import entry_of_wheel, load_manifest
from support.archives import (
    CENTRAL,
    DATA,
    FILE_NAME,
    GOOD,
    Archive,
    digest_of_file,
    files_of,
    good,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipm.store.layout import Store

    Spoil = Callable[[Archive, str], str]


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


def let_in(store: Store, path: str, algorithm: str = "sha256", value: str = "") -> StoredWheel:
    """Accept a wheel whose hash a lock has."""
    with open(path, "rb") as stream:
        value = value or hashlib.file_digest(stream, algorithm).hexdigest()
    with store.writing(), store.run() as (run, _):
        (kept,) = store_wheels(store, run, [(path, "")], [("md5", "0" * 32), (algorithm, value)])
    return kept


DISAGREEING = {
    "differs from RECORD",
    "not in RECORD",
    "in RECORD but not in the archive",
    "not in the archive",
    "no sha256",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_lock_that_has_the_archives_hash_excuses_a_wrong_record_alone(
    tmp_path: Path, empty_store: Store, case: str
) -> None:
    spoil, name, why = HOSTILE[case]
    path = spoil(good(), str(tmp_path))
    if why not in DISAGREEING:
        with pytest.raises(WheelError, match=re.escape(why)):
            let_in(empty_store, path)
        assert_untouched(empty_store)
        return
    store = opened(str(tmp_path / "store"))
    kept = let_in(store, path)
    assert kept.mismatches
    for mismatch in kept.mismatches:
        assert mismatch.wheel == FILE_NAME
        assert why in mismatch.why
        assert mismatch.member in name or name.strip("'").strip("…") in mismatch.member
    manifest = load_manifest(store, kept.entry)
    (init,) = [file for file in manifest.files if file.path == "site/demo/__init__.py"]
    assert (init.digest, init.size) == (Digest.of(GOOD["demo/__init__.py"]), len(GOOD["demo/__init__.py"]))
    assert {file.path for file in manifest.files} >= {"site/demo/__init__.py", "site/demo/tool.sh"}


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_lock_may_vouch_by_a_better_hash(tmp_path: Path, algorithm: str) -> None:
    path = HOSTILE["RECORD lies about content"][0](good(), str(tmp_path))
    store = opened(str(tmp_path / "store"))
    with pytest.raises(WheelError, match="differs from RECORD"):
        let_in(store, path, algorithm, "0" * (96 if algorithm == "sha384" else 128))
    assert [mismatch.member for mismatch in let_in(store, path, algorithm).mismatches] == ["demo/__init__.py"]


def test_a_weak_hash_vouches_for_nothing(tmp_path: Path, empty_store: Store) -> None:
    path = HOSTILE["RECORD lies about content"][0](good(), str(tmp_path))
    with pytest.raises(WheelError, match="differs from RECORD"):
        let_in(empty_store, path, "md5")


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_better_hashes_are_checked(tmp_path: Path, algorithm: str) -> None:
    archive = good()
    better = better_row(algorithm, GOOD["demo/__init__.py"])
    archive.record = archive.rows().replace(INIT, better).encode()
    store = str(tmp_path / "store")
    entry = add_wheel_file(store, archive.write(str(tmp_path))).entry
    manifest = load_manifest(opened(store), entry)
    digests = {file.path: file.digest for file in manifest.files}
    assert digests["site/demo/__init__.py"] == Digest.of(GOOD["demo/__init__.py"])


def test_a_bomb_that_tells_its_size(
    tmp_path: Path, empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs
    nothing = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    path = good().write(str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda _: nothing)
    with pytest.raises(WheelError, match=r"\bB free"):
        add_wheel_file(empty_store.path, path)
    monkeypatch.setattr(os, "statvfs", real)
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

    monkeypatch.setattr("pipm.share.add_wheels.sync_file_system", full)
    with pytest.raises(FileSystemError, match="No space") as caught:
        add_wheel_file(empty_store.path, path)
    assert caught.value.hint
    assert_untouched(empty_store)


def test_the_archive_is_read_through_one_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unpacked bytes are those that were hashed."""
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
