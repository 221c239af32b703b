"""pipm does not use a store or a layer that other users can change."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from pipm.errors import StoreError
from pipm.fs import trust
from pipm.fs.trust import foreign_part, is_foreign
from pipm.inspect.doctor import diagnose
from pipm.pip_wrapper.runtime.store_reader import StoreReader
from pipm.share.add_wheels import add_wheel_file
from pipm.store.layers import open_layers
from pipm.store.layout import open_store
from support.archives import good, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS = ("", "v1", "v1/objects", "v1/wheels", "v1/by-wheel", "v1/bytecode", "v1/roots", "v1/tmp")
OTHER = 12346
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A store with a distribution."""
    path = str(tmp_path / "store")
    add_wheel_file(path, good().write(str(tmp_path / "wheel")))
    return path


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_all_can_write_to(path: str, folder: str) -> None:
    os.chmod(f"{path}/{folder}", 0o777)
    with pytest.raises(StoreError, match="Other users can write") as caught:
        open_store(path)
    assert caught.value.hint == f"chmod -R go-w {path}"
    (check,) = [check for check in diagnose(path) if check.name == "store"]
    assert check.is_error
    assert "Other users can write" in check.detail


@needs_root
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_another_user(path: str, folder: str) -> None:
    os.chown(f"{path}/{folder}", OTHER, OTHER)
    with pytest.raises(StoreError, match="belongs to another user"):
        open_store(path)


@needs_root
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_on_the_way_of_another_user(path: str, tmp_path: Path, *, there: bool) -> None:
    """That user could put a store with other modules in its place, which finder environments run."""
    above = tmp_path / "others"
    above.mkdir()
    place = str(above / "store")
    if there:
        os.rename(path, place)
    os.chown(above, OTHER, OTHER)
    with pytest.raises(
        StoreError, match=r"others, in the path of the store .*, belongs to another user"
    ) as caught:
        open_store(place)
    assert f"PIPM_TRUSTED_USERS={OTHER}" in str(caught.value.hint)
    assert os.path.exists(place) is there
    os.chmod(above, 0o1777)
    os.chown(above, 0, 0)
    assert open_store(place) is not None


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_a_folder_that_is_a_link(path: str, tmp_path: Path, folder: str) -> None:
    os.rename(f"{path}/{folder}", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{path}/{folder}")
    with pytest.raises(Exception, match=r"not a folder|symbolic link|Not a directory") as caught:
        open_store(path)
    assert hasattr(caught.value, "hint")


def test_doctor_looks_one_folder_deeper(path: str) -> None:
    assert not [check for check in diagnose(path) if check.name == "permissions"]
    rooms = [f"{path}/v1/{top}/{min(os.listdir(f'{path}/v1/{top}'))}" for top in ("objects", "wheels")]
    for room in rooms:
        os.chmod(room, 0o777)
    found = [check for check in diagnose(path) if check.name == "permissions"]
    assert [check.detail.split(" ")[0] for check in found] == rooms
    assert all(check.is_error and check.hint.startswith("chmod -R go-w") for check in found)


@pytest.mark.parametrize("folder", ["v1", "v1/objects", "v1/wheels", "v1/by-wheel"])
def test_the_wrapped_pip_does_without(path: str, folder: str) -> None:
    StoreReader(path)  # type: ignore[no-untyped-call]
    os.chmod(f"{path}/{folder}", 0o777)
    with pytest.raises(PermissionError, match="other users can write"):
        StoreReader(path)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("folder", ["v1", "v1/objects", "v1/bytecode"])
def test_a_layer_that_all_can_write_to(
    path: str, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPM_STORE_LAYERS", path)
    own = opened(str(tmp_path / "own"))
    os.chmod(f"{path}/{folder}", 0o777)
    with pytest.raises(StoreError, match="All users can write to the layer"):
        open_layers(own.path)


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    """Clear the cached facts about users."""
    trust._users = frozenset()
    yield
    trust._users = frozenset()


def status_of(mode: int, user: int = 0, group: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, user, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "foreign"),
    [
        (stat.S_IFREG | 0o644, False),
        (stat.S_IFREG | 0o646, True),
        (stat.S_IFREG | 0o664, False),  # root's own group
        (stat.S_IFDIR | 0o755, False),
        (stat.S_IFDIR | 0o757, True),
        (stat.S_IFDIR | 0o1777, False),
        (stat.S_IFLNK | 0o777, False),
    ],
)
def test_what_others_can_change(mode: int, foreign: bool) -> None:  # noqa: FBT001 - a table
    assert is_foreign(status_of(mode)) is foreign
    assert is_foreign(status_of(mode, OTHER))
    assert is_foreign(status_of(stat.S_IFREG | 0o664, 0, OTHER))


def test_users_that_are_trusted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPM_TRUSTED_USERS", f"7, {OTHER},x,")
    assert not is_foreign(status_of(stat.S_IFREG | 0o644, OTHER))
    assert is_foreign(status_of(stat.S_IFREG | 0o644, 8))


def test_the_way_to_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"")
    os.symlink("folder", tmp_path / "link")
    os.symlink("loop", tmp_path / "loop")
    assert foreign_part(str(tmp_path / "link/../link/./file")) is None
    assert foreign_part(str(tmp_path / "none/file")) is None
    assert foreign_part(str(tmp_path / "loop")) == str(tmp_path / "loop")
    folder.chmod(0o777)
    assert foreign_part(str(tmp_path / "link/file")) == str(folder)
    folder.chmod(0o1777)
    assert foreign_part(str(tmp_path / "link/file")) is None
