"""Hostile wheels in a sync, and in archives that pip has already installed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hostile_wheels import HOSTILE, entry_points
from pipm.context.progress import Progress
from pipm.context.workers import SharedState
from pipm.core.selection import Selection
from pipm.env.base_interpreter import find_interpreter
from pipm.env.create_environment import create_environment
from pipm.errors import PipmError
from pipm.fs.link_modes import LinkMode
from pipm.share.add_wheels import join_wheel_files
from pipm.store.entries import all_entries
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.archives import DATA, FILE_NAME, INFO, digest_of_file, files_of, good, opened

if TYPE_CHECKING:
    from pathlib import Path

    from pipm.store.layout import Store
    from pipm.sync.sync_values import SyncResult

DISAGREEING = (
    "differs from RECORD",
    "not in RECORD",
    "in RECORD but not in the archive",
    "not in the archive",
    "no sha256",
)
"""What a lock's hash of the archive excuses."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment and a store."""
    folder = tmp_path_factory.mktemp("ways")
    create_environment(str(folder / "env"), find_interpreter(sys.executable))
    opened(str(folder / "store"))
    return folder


def sync_with(place: Path, wheel: str) -> SyncResult:
    """Sync the environment of *place* with a lock of this *wheel* alone."""
    lock = os.path.join(os.path.dirname(wheel), "pylock.toml")
    with open(lock, "w", encoding="utf-8") as file:
        file.write(
            'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
            f'wheels = [{{ name = "{FILE_NAME}", path = "{wheel}",'
            f' hashes = {{ sha256 = "{digest_of_file(wheel).hex()}" }} }}]\n'
        )
    options = SyncOptions(link_mode=LinkMode.COPY, compiled=False)
    return sync(str(place / "store"), str(place / "env"), open_lock(lock, Selection()), options, Progress())


def store_of(place: Path) -> Store:
    """The store of *place*."""
    return opened(str(place / "store"))


@pytest.mark.parametrize("case", [name for name, row in HOSTILE.items() if row[2] not in DISAGREEING])
def test_sync_refuses_what_the_store_refuses(place: Path, tmp_path: Path, case: str) -> None:
    spoil, name, why = HOSTILE[case]
    wheel = spoil(good(), str(tmp_path / "wheel"))
    before = files_of(str(place / "env"))
    with pytest.raises(PipmError) as caught:
        sync_with(place, wheel)
    message = caught.value.message
    assert FILE_NAME in message
    assert name in message
    assert why in message
    assert caught.value.hint
    assert files_of(str(place / "env")) == before
    assert list(all_entries(store_of(place))) == []
    assert os.listdir(place / "store/v1/tmp") == []


@pytest.mark.parametrize("case", HOSTILE)
def test_what_pip_took_the_store_need_not(tmp_path: Path, empty: Store, case: str) -> None:
    """pip decides for itself; the archive is passed over, and nothing of it stays."""
    wheel = HOSTILE[case][0](good(), str(tmp_path / "wheel"))
    join_wheel_files(empty.path, [(wheel, FILE_NAME)], SharedState())
    assert list(all_entries(empty)) == []
    assert os.listdir(f"{empty.path}/v1/tmp") == []


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that stays empty."""
    return opened(str(tmp_path_factory.mktemp("empty") / "store"))


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        (b"[console_scripts]\na = demo:NAME.upper\na = demo:NAME.lower\n", {"a": b"NAME.lower()"}),
        (b"\xef\xbb\xbf[console_scripts]\na = demo:main\n", {}),
        (b"hello\nx = y\n[console_scripts]\na = demo:main\n", {"a": b"main()"}),
        (b"[console_scripts]\na = demo:main\n[console_scripts]\nb = demo:main [x]\n", {"a": b"", "b": b""}),
        (b"[console_scripts]\r\n  a = demo:main\r\n# b = c\r\n[other]\r\nc = d;e\r\n", {"a": b"main()"}),
        (b"", {}),
    ],
    ids=["the later of two", "byte order mark", "before the first section", "twice", "odd", "empty"],
)
def test_entry_points_are_read_as_pip_reads_them(
    tmp_path: Path, text: bytes, scripts: dict[str, bytes]
) -> None:
    create_environment(str(tmp_path / "env"), find_interpreter(sys.executable))
    before = set(os.listdir(tmp_path / "env/bin"))
    archive = good()
    del archive.files[f"{DATA}/scripts/run"]
    wheel = entry_points(text)(archive, str(tmp_path / "wheel"))
    sync_with(tmp_path, wheel)
    assert set(os.listdir(tmp_path / "env/bin")) - before == scripts.keys()
    for name, call in scripts.items():
        assert call in (tmp_path / "env/bin" / name).read_bytes()


def test_an_entry_that_cannot_be_installed_is_named(tmp_path: Path) -> None:
    """One that an earlier pipm let in, or that came out of an environment."""
    create_environment(str(tmp_path / "env"), find_interpreter(sys.executable))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipm.wheel.unpack_wheel.parse_entry_points", lambda _: [])
        wheel = entry_points(b"[console_scripts]\nbad = mod\n")(good(), str(tmp_path / "wheel"))
        with pytest.raises(PipmError, match=r"demo/1\.0/.*its entry_points\.txt: line 2: 'mod'") as caught:
            sync_with(tmp_path, wheel)
    assert caught.value.hint
    assert INFO not in os.listdir(
        tmp_path / "env/lib" / os.listdir(tmp_path / "env/lib")[0] / "site-packages"
    )
