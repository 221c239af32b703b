"""The cache of pins, and what makes it void."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.core.selection import Selection
from pipm.core.target import Target
from pipm.errors import LockError
from pipm.fs.cache_files import user_cache_folder
from pipm.lockfile.find_lock import lock_content, member_here
from pipm.sync.open_lock import open_lock
from pipm.sync.pins_cache import cached_pins

if TYPE_CHECKING:
    from pathlib import Path

HASHES = (("sha256", "a" * 64), ("md5", "b" * 32))
WHEEL = Archive(file_name="a-1-py3-none-any.whl", url="https://x/a-1-py3-none-any.whl", size=3, hashes=HASHES)
SDIST = Archive(file_name="a-1.tar.gz", path="/x/a-1.tar.gz", subdirectory="src")
PINS = [
    Pin(name="a", version="1", wheels=(WHEEL, WHEEL), sdist=SDIST, where="packages[0]"),
    Pin(name="b", version=None, origin=SourceFolder(path="/x", editable=True, subdirectory="b")),
    Pin(
        name="c",
        version="2",
        origin=Repository(vcs="git", url="https://x", commit="c" * 40),
        index_url="https://i",
    ),
    Pin(name="d", version="3", origin=SDIST, hashes=HASHES, options=("--no-index",)),
]
TARGET = Target(markers={"python_full_version": "3.11.7"}, tags=("py3-none-any",))
OTHER = Target(markers={"python_full_version": "3.12.1"}, tags=("py3-none-any",))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refused() -> list[Pin]:
    raise AssertionError("read again")


def test_pins_come_back_as_they_were() -> None:
    assert cached_pins("one", "/lock", TARGET, lambda: PINS) == PINS
    assert cached_pins("one", "/lock", TARGET, refused) == PINS
    assert cached_pins("two", "/lock", TARGET, list) == []
    assert cached_pins("one", "/lock", OTHER, lambda: PINS[:1]) == PINS[:1]
    assert cached_pins("one", "/lock", OTHER, refused) == PINS[:1]


def test_equal_locks_in_other_folders_have_the_same_pins() -> None:
    def pins(folder: str, *more: Pin) -> list[Pin]:
        return [
            PINS[0]._replace(sdist=None),
            Pin("own", None, origin=SourceFolder(folder, editable=True)),
            *more,
        ]

    assert cached_pins("one", "/first", TARGET, lambda: pins("/first")) == pins("/first")
    assert cached_pins("one", "/second", TARGET, refused) == pins("/second")
    beside = Pin("beside", None, origin=SourceFolder("/first/beside"))
    assert cached_pins("two", "/first", TARGET, lambda: pins("/first", beside)) == pins("/first", beside)
    assert cached_pins("two", "/first", TARGET, refused) == pins("/first", beside)
    assert cached_pins("two", "/second", TARGET, lambda: pins("/second")) == pins("/second")


def test_a_torn_cache_is_read_anew() -> None:
    cached_pins("one", "/lock", TARGET, lambda: PINS)
    (name,) = os.listdir(user_cache_folder())
    path = f"{user_cache_folder()}/{name}"
    with open(path, "rb") as file:
        whole = file.read()
    for torn in (b"", whole[:40], whole[:-1], whole[:100] + b"\0" + whole[101:], b"\0" * len(whole)):
        with open(path, "wb") as file:
            file.write(torn)
        assert cached_pins("one", "/lock", TARGET, lambda: PINS) == PINS
        assert cached_pins("one", "/lock", TARGET, refused) == PINS


def test_the_cache_is_bounded() -> None:
    for number in range(600):
        cached_pins(str(number), "/lock", TARGET, lambda: PINS)
    assert len(os.listdir(user_cache_folder())) <= 256


def test_included_files_and_variables_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, base, limits = tmp_path / "requirements.txt", tmp_path / "base.txt", tmp_path / "limits.txt"
    lock.write_text("-r base.txt\n--index-url https://${PIPM_TEST_USER}@x/simple\n")
    base.write_text("a==1\n  --constraint='limits.txt'\n-r requirements.txt\n-r absent.txt\n")
    limits.write_text("a==1\n")
    monkeypatch.setenv("PIPM_TEST_USER", "me")
    states = [lock_content(str(lock))]
    assert lock_content(str(lock)) == states[0]
    base.write_text(base.read_text() + "b==2\n")
    states.append(lock_content(str(lock)))
    limits.write_text("a==1.0\n")
    states.append(lock_content(str(lock)))
    monkeypatch.setenv("PIPM_TEST_USER", "you")
    states.append(lock_content(str(lock)))
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    states.append(lock_content(str(lock)))
    assert len(set(states)) == 5
    with pytest.raises(LockError, match="No such file"):
        lock_content(str(tmp_path / "none.txt"))
    with pytest.raises(LockError, match="Is a directory"):
        lock_content(str(tmp_path))


def test_what_may_have_a_password_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPM_TEST_SECRET", "hunter2")
    lock = tmp_path / "requirements.txt"
    lock.write_text("--index-url https://me:${PIPM_TEST_SECRET}@x/simple\na==1\n")
    (pin,) = open_lock(str(lock), Selection(), "").pins(TARGET)
    assert "hunter2" in f"{pin.index_url} {pin.options}"
    assert not os.path.exists(user_cache_folder())


def test_a_password_in_a_lock_is_not_kept() -> None:
    for url in ("https://me:hunter2@x/a-1-py3-none-any.whl", "https://token@x/a-1-py3-none-any.whl"):
        pin = Pin(name="a", version="1", wheels=(Archive("a-1-py3-none-any.whl", url=url),))
        assert cached_pins("one", "/lock", TARGET, [pin].copy) == [pin]
    assert not os.path.exists(user_cache_folder())


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_what_another_user_wrote_is_not_believed() -> None:
    cached_pins("one", "/lock", TARGET, lambda: PINS)
    (name,) = os.listdir(user_cache_folder())
    os.chown(f"{user_cache_folder()}/{name}", 12345, 12345)
    assert cached_pins("one", "/lock", TARGET, lambda: PINS[:1]) == PINS[:1]


def test_the_member_of_the_folder_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libs/lib/src/lib").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\n')
    (tmp_path / "libs/lib/pyproject.toml").write_text('[project]\nname = "lib"\n')
    for folder, wanted in ((".", ()), ("tests", ()), ("libs/lib", ("lib",)), ("libs/lib/src/lib", ("lib",))):
        monkeypatch.chdir(tmp_path / folder)
        assert member_here() == wanted
    (tmp_path / "libs/lib/poetry.lock").write_text("")
    assert member_here() == ()
