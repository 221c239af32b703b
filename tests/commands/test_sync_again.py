"""A second sync sees by one look at each folder whether anything changed."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from pipm.context.progress import Progress
from pipm.core.selection import Selection
from pipm.fs.link_modes import LinkMode
from pipm.store.layout import open_store
from pipm.sync import apply_plan
from pipm.sync.installed_state import EnvironmentScan
from pipm.sync.materialise import materialise
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.locks import assert_holds, pylock
from support.pipm import Pipm
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipm.core.plan.sync_plan import Installed
    from pipm.sync.materialise import Materialised
    from pipm.sync.sync_values import SyncResult
    from support.disks import Disk

FILES = {
    "alpha/__init__.py": b"",
    "alpha/inner/module.py": b"VALUE = 1\n",
    "alpha/inner/data.txt": b"some text\n",
    "alpha.pth": b"# nothing\n",
    "alpha-1.0.data/data/share/alpha/notes.txt": b"notes\n",
    "alpha-1.0.data/scripts/alpha-script": b"#!python\nprint('alpha')\n",
    "alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\nalpha = alpha:main\n",
}
MORE = {
    "shared/gamma.py": b"VALUE = 3\n",
    "gamma-3.0.dist-info/entry_points.txt": b"[console_scripts]\ngamma = shared.gamma:main\n",
}
CLOCK = 0.03
"""Seconds after which a change has another time, and is believed."""


class Scene:
    """A store that has two wheels, their lock, and an environment of it."""

    def __init__(self, folder: str, pipm: Pipm, mode: LinkMode) -> None:
        self.store, self.mode = pipm.store, mode
        self.wheels = [
            make_wheel(f"{folder}/wheels", "alpha==1.0", FILES),
            make_wheel(f"{folder}/wheels", "beta==2.0", {"beta.py": b"VALUE = 2\n"}),
        ]
        self.lock = pylock(folder, self.wheels)
        self.environment = Environment(path=f"{folder}/env")
        self.more = [
            make_wheel(f"{folder}/wheels", "gamma==3.0", MORE),
            make_wheel(f"{folder}/wheels", "delta==4.0", {"shared/delta.py": b"VALUE = 4\n"}),
            make_wheel(f"{folder}/wheels", "beta==2.5", {"beta.py": b"VALUE = 2.5\n"}),
        ]
        pipm("store", "add", *self.wheels, *self.more).expect()

    def relock(self, *wheels: str) -> SyncResult:
        """Sync with a lock of these *wheels*."""
        pylock(os.path.dirname(self.lock), wheels)
        return self.sync()

    def sync(self) -> SyncResult:
        options = SyncOptions(link_mode=self.mode)
        lock = open_lock(self.lock, Selection(), ("--link-mode", self.mode.value))
        return sync(self.store, self.environment.path, lock, options, Progress())


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of one's own: it has 256 places, and other tests work at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=[LinkMode.HARDLINK, LinkMode.FINDER], ids=lambda mode: mode.value)
def scene(request: pytest.FixtureRequest, tmp_path: Path, pipm: Pipm) -> Scene:
    made = Scene(str(tmp_path), pipm, request.param)
    made.sync()
    return made


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets an entry whenever a sync looks at every file."""
    from pipm.sync import full_check  # noqa: PLC0415 - to be replaced

    calls: list[str] = []
    whole = full_check.passes_full_check

    def noted(*arguments: object) -> bool:
        calls.append("all of it")
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(full_check, "passes_full_check", noted)
    return calls


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets the name of each distribution whose files a sync compares."""
    names: list[str] = []
    fit = EnvironmentScan._fit

    def noted(survey: EnvironmentScan, installed: Installed, *arguments: object) -> object:
        names.append(installed.name)
        return fit(survey, installed, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(EnvironmentScan, "_fit", noted)
    return names


def test_a_second_sync_looks_at_folders_alone(scene: Scene, looked: list[str]) -> None:
    for _ in range(2):
        done = scene.sync()
        assert (done.unchanged, done.added, done.repaired) == (2, (), ())
    assert looked == []


def test_what_was_looked_at_is_remembered(scene: Scene, looked: list[str]) -> None:
    """A folder has another time though nothing changed: its new time is believed."""
    os.mkdir(scene.environment.file("of-somebody"))
    for _ in range(3):
        scene.sync()
    assert len(looked) == 1


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)


def append(path: str) -> None:
    with open(path, "ab") as stream:
        stream.write(b"# more\n")


def replaced(path: str, data: bytes) -> None:
    write(f"{path}.new", data)
    os.replace(f"{path}.new", path)


OF_MODULES: dict[str, Callable[[Environment], None]] = {
    "a module is gone": lambda e: os.unlink(e.file("alpha/inner/module.py")),
    "a module was replaced": lambda e: replaced(e.file("alpha/inner/module.py"), b"VALUE = 17\n"),
    "a folder is gone": lambda e: shutil.rmtree(e.file("alpha/inner")),
    "an empty file was written to": lambda e: append(e.file("alpha/__init__.py")),
}
OF_ALL: dict[str, Callable[[Environment], None]] = {
    "RECORD was written to": lambda e: write(e.file("alpha-1.0.dist-info/RECORD"), b"x,,\n"),
    "RECORD is gone": lambda e: os.unlink(e.file("alpha-1.0.dist-info/RECORD")),
    "INSTALLER is gone": lambda e: os.unlink(e.file("alpha-1.0.dist-info/INSTALLER")),
    "METADATA is gone": lambda e: os.unlink(e.file("alpha-1.0.dist-info/METADATA")),
    "a script was written to": lambda e: append(f"{e.path}/bin/alpha"),
    "a script of the wheel is gone": lambda e: os.unlink(f"{e.path}/bin/alpha-script"),
    "a data file is gone": lambda e: os.unlink(f"{e.path}/share/alpha/notes.txt"),
    "a path file was written to": lambda e: append(e.file("alpha.pth")),
}


@pytest.mark.parametrize("what", OF_ALL)
def test_what_changed_is_mended(scene: Scene, looked: list[str], what: str) -> None:
    OF_ALL[what](scene.environment)
    assert_mended(scene, looked)


@pytest.mark.parametrize("what", OF_MODULES)
@pytest.mark.parametrize("scene", [LinkMode.HARDLINK], indirect=True)
def test_a_module_that_changed_is_mended(scene: Scene, looked: list[str], what: str) -> None:
    OF_MODULES[what](scene.environment)
    assert_mended(scene, looked)


@pytest.mark.timing
@pytest.mark.parametrize("what", OF_ALL)
def test_what_changed_after_a_look_at_all_of_it_is_mended(scene: Scene, looked: list[str], what: str) -> None:
    os.utime(scene.environment.site)
    time.sleep(CLOCK)
    scene.sync()
    scene.sync()
    assert len(looked) == 1
    looked.clear()
    OF_ALL[what](scene.environment)
    assert_mended(scene, looked)


def assert_mended(scene: Scene, looked: list[str]) -> None:
    done = scene.sync()
    assert looked
    assert {name for name, *_ in (*done.repaired, *done.replaced)} == {"alpha"}
    assert scene.sync().unchanged == 2


@pytest.mark.parametrize("scene", [LinkMode.FINDER], indirect=True)
def test_a_path_file_of_the_finder_that_was_written_to_is_mended(scene: Scene) -> None:
    name = scene.environment.file("000_pipm.pth")
    with open(name, "rb") as stream:
        before = stream.read()
    append(name)
    scene.sync()
    with open(name, "rb") as stream:
        assert stream.read() == before


def test_a_change_costs_a_look_at_whom_it_touches(
    scene: Scene, looked: list[str], compared: list[str]
) -> None:
    os.unlink(f"{scene.environment.path}/share/alpha/notes.txt")
    assert [name for name, _ in scene.sync().repaired] == ["alpha"]
    assert set(compared) == {"alpha"}
    compared.clear()
    looked.clear()
    assert scene.sync().unchanged == 2
    assert (looked, compared) == ([], [])


LOCKS: dict[str, Callable[[Scene], tuple[list[str], set[str]]]] = {
    "one more": lambda s: ([*s.wheels, s.more[1]], {"delta"}),
    "one more with a script": lambda s: ([*s.wheels, s.more[0]], {"gamma"}),
    "two more that share a folder": lambda s: ([*s.wheels, *s.more[:2]], {"gamma", "delta"}),
    "one less": lambda s: (s.wheels[:1], {"beta"}),
    "another version": lambda s: ([s.wheels[0], s.more[2]], {"beta"}),
    "the same in another order": lambda s: (s.wheels[::-1], set()),
}
"""New locks, with the names that they touch; `beta.py` lies in site-packages, which everything touches."""


@pytest.mark.parametrize("what", LOCKS)
def test_another_lock_costs_a_look_at_whom_it_touches(
    scene: Scene, looked: list[str], compared: list[str], what: str
) -> None:
    wheels, touched = LOCKS[what](scene)
    scene.relock(*wheels)
    assert "alpha" not in compared
    assert set(compared) <= touched | {"beta"}
    compared.clear()
    assert scene.sync().unchanged == len(wheels)
    assert (looked, compared) == ([], [])
    assert_holds(scene.environment, wheels if scene.mode is LinkMode.HARDLINK else [])


@pytest.mark.parametrize("what", OF_ALL)
def test_what_changed_before_another_lock_is_mended_with_it(scene: Scene, what: str) -> None:
    OF_ALL[what](scene.environment)
    done = scene.relock(*scene.wheels, scene.more[0])
    assert [name for name, _ in done.added] == ["gamma"]
    assert {name for name, *_ in (*done.repaired, *done.replaced)} == {"alpha"}
    assert scene.sync().unchanged == 3


@pytest.mark.parametrize("what", OF_ALL)
def test_what_changed_after_another_lock_is_mended(scene: Scene, looked: list[str], what: str) -> None:
    scene.relock(*scene.wheels, scene.more[0])
    OF_ALL[what](scene.environment)
    done = scene.sync()
    assert looked
    assert {name for name, *_ in (*done.repaired, *done.replaced)} == {"alpha"}
    assert scene.sync().unchanged == 3


def test_what_another_does_while_one_is_added_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has the time of pipm's own change, so its files are compared."""
    file = scene.environment.file("beta-2.0.dist-info/METADATA")

    def meanwhile(*arguments: object) -> Materialised:
        os.unlink(file)
        os.unlink(f"{scene.environment.path}/bin/alpha")
        return materialise(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(apply_plan, "materialise", meanwhile)
    scene.relock(*scene.wheels, scene.more[0])
    monkeypatch.undo()
    assert not os.path.exists(file)
    assert {name for name, _ in scene.sync().repaired} == {"alpha", "beta"}
    assert scene.sync().unchanged == 3


def test_a_new_environment_waits_for_no_file_of_its_own(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync of the file system at its end is enough."""
    synced: list[str] = []
    real = os.fsync

    def noted(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    shutil.rmtree(scene.environment.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        scene.sync()
    assert synced
    assert [path for path in synced if path.startswith(f"{scene.environment.path}/")] == []
    assert scene.sync().unchanged == 2


def test_what_came_is_removed(scene: Scene, looked: list[str]) -> None:
    folder = scene.environment.file("stray-1.0.dist-info")
    os.mkdir(folder)
    write(f"{folder}/METADATA", b"Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n")
    write(f"{folder}/RECORD", b"stray-1.0.dist-info/METADATA,,\nstray-1.0.dist-info/RECORD,,\n")
    assert scene.sync().removed == (("stray", "1.0"),)
    assert looked
    assert not os.path.exists(folder)


def test_an_entry_that_the_store_lost_is_not_passed_over(scene: Scene) -> None:
    store = open_store(scene.store)
    assert store is not None
    shutil.rmtree(f"{store.path}/v1/wheels/beta")
    assert scene.sync().fetched == 1
    assert os.listdir(f"{store.path}/v1/wheels/beta")


@pytest.mark.timing
def test_what_is_right_stays_when_the_rest_is_mended(scene: Scene) -> None:
    """A script of a damaged distribution is the same inode; one that another file replaced is written."""
    programs = [f"{scene.environment.path}/bin/{name}" for name in ("alpha", "alpha-script")]
    notes = f"{scene.environment.path}/share/alpha/notes.txt"
    before = [os.stat(path) for path in programs]
    os.unlink(notes)
    scene.sync()
    assert os.path.exists(notes)
    assert [(one.st_ino, one.st_ctime_ns) for one in map(os.stat, programs)] == [
        (one.st_ino, one.st_ctime_ns) for one in before
    ]
    os.unlink(notes)
    with open(programs[0], "a", encoding="ascii") as file:
        file.write("# mine\n")
    scene.sync()
    assert os.path.exists(notes)
    assert os.stat(programs[0]).st_size == before[0].st_size


def test_reflinks_are_left_to_verify(either_mode: Disk, looked: list[str]) -> None:
    """Like hard links: a second sync looks at folders, and verify finds what was changed in place."""
    store = f"{either_mode.path}/store"
    mode = LinkMode.REFLINK if either_mode.reflinks else LinkMode.HARDLINK
    scene = Scene(either_mode.path, Pipm(store=store), mode)
    scene.sync()
    time.sleep(CLOCK)
    scene.sync()
    looked.clear()
    assert scene.sync().unchanged == 2
    assert looked == []
    os.unlink(scene.environment.file("alpha/inner/data.txt"))
    assert [name for name, _ in scene.sync().repaired] == ["alpha"]
    if either_mode.reflinks:
        append(scene.environment.file("alpha/inner/data.txt"))
        assert scene.sync().repaired == ()
        found = Pipm(store=store)("verify", scene.environment.path)
        assert "alpha/inner/data.txt" in found.out + found.err


@pytest.mark.timing
@pytest.mark.parametrize("mode", [LinkMode.COPY, LinkMode.SYMLINK], ids=lambda mode: mode.value)
def test_copies_are_looked_at_each_time(
    tmp_path: Path, pipm: Pipm, looked: list[str], mode: LinkMode
) -> None:
    """A copy that is written to in place changes no folder."""
    scene = Scene(str(tmp_path), pipm, mode)
    scene.sync()
    time.sleep(CLOCK)
    scene.sync()
    scene.sync()
    assert len(looked) == 2
    if mode is LinkMode.COPY:
        append(scene.environment.file("alpha/inner/data.txt"))
        assert [name for name, _ in scene.sync().repaired] == ["alpha"]
