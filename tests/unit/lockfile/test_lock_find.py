"""Finding the lock of a folder, and files that are not locks."""

from __future__ import annotations

import os

import pytest
from lock_files import LINUX, Folder
from pipm.errors import LockError
from pipm.lockfile.find_lock import find_lock
from pipm.lockfile.read_lock import read_lock

NAMES = ["pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt"]


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=os.path.realpath(str(tmp_path)))


def test_the_nearest_lock_and_the_best_of_a_folder(folder: Folder) -> None:
    os.makedirs(f"{folder.path}/a/b/c")
    folder.write("a/pylock.dev.toml", "")
    for name in reversed(NAMES):
        folder.write(f"a/{name}", "")
        assert find_lock(f"{folder.path}/a/b/c") == f"{folder.path}/a/{name}"
    folder.write("a/b/requirements.txt", "")
    assert find_lock(f"{folder.path}/a/b/c") == f"{folder.path}/a/b/requirements.txt"


def test_a_folder_is_no_lock(folder: Folder) -> None:
    os.makedirs(f"{folder.path}/a/pylock.toml")
    folder.write("uv.lock", "")
    assert find_lock(f"{folder.path}/a") == f"{folder.path}/uv.lock"


def test_relative_folders(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("uv.lock", "")
    monkeypatch.chdir(folder.path)
    assert find_lock(".") == f"{folder.path}/uv.lock"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("setup.cfg", "is not a lock file that pipm knows"),
        ("pylock.a.b.toml", "is not a lock file that pipm knows"),
        ("uv.lock", "There is no file"),
    ],
)
def test_no_lock(folder: Folder, name: str, part: str) -> None:
    with pytest.raises(LockError, match=part):
        read_lock(f"{folder.path}/{name}", LINUX)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read(folder: Folder, name: str) -> None:
    path = f"{folder.path}/{name}"
    os.mkdir(path)
    with pytest.raises(LockError, match="is a folder"):
        read_lock(path, LINUX)
    os.rmdir(path)
    with open(path, "wb") as file:
        file.write(b"# \n\xff")
    with pytest.raises(LockError, match="line 2: not UTF-8"):
        read_lock(path, LINUX)
