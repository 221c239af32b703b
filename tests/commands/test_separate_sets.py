"""A second new environment of a lock gets its files without a plan of the whole."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pipm.context.progress import Progress
from pipm.core.plan.materialise_plan import find_collisions
from pipm.core.selection import Selection
from pipm.errors import CollisionError, FileSystemError
from pipm.fs.link_modes import LinkMode
from pipm.store.roots import find_root
from pipm.sync import apply_plan, full_sync
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.locks import pylock
from support.process import check
from support.projects import make_project
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.core.scheme import Scheme
    from pipm.store.layout import Store
    from pipm.sync.sync_values import SyncResult
    from support.pipm import Pipm

FILES = {
    "space/alpha/__init__.py": b"",
    "space/alpha/module.py": b"VALUE = 1\n",
    "alpha.pth": b"# nothing\n",
    "alpha-1.0.data/data/share/notes.txt": b"notes\n",
    "alpha-1.0.data/scripts/alpha-script": b"#!python\nprint('alpha')\n",
    "alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\nalpha = space.alpha:main\n",
}
MORE = {"space/beta.py": b"VALUE = 2\n", "beta.py": b"", "beta-2.0.data/data/share/more.txt": b"more\n"}


class Scene:
    """A store with the wheels of a lock."""

    def __init__(self, folder: Path, pipm: Pipm, more: dict[str, bytes]) -> None:
        self.folder, self.store = folder, pipm.store
        wheels = [
            make_wheel(str(folder / "wheels"), "alpha==1.0", FILES),
            make_wheel(str(folder / "wheels"), "beta==2.0", more),
        ]
        self.lock = pylock(str(folder), wheels)
        pipm("store", "add", *wheels).expect()

    def sync(self, name: str, *, clobber: bool = False) -> SyncResult:
        options = SyncOptions(link_mode=LinkMode.HARDLINK, clobber=clobber)
        lock = open_lock(self.lock, Selection(), ())
        return sync(self.store, str(self.folder / name), lock, options, Progress())

    def files(self, name: str) -> dict[str, tuple[int, int, bytes]]:
        """Return inode, mode and bytes of all files; private ones without inode, scripts without path."""
        top = self.folder / name
        found = {}
        for path in sorted(top.rglob("*")):
            status = path.lstat()
            if path.is_file() and path.name != "pyvenv.cfg" and "ctivate" not in path.name:
                data = path.read_bytes().replace(os.fsencode(top), b"/env")
                if path.name == "RECORD":  # it has the hashes of scripts, and scripts the path
                    data = b"\n".join(line.partition(b",")[0] for line in data.splitlines())
                inode = status.st_ino if status.st_nlink > 1 else 0
                found[str(path.relative_to(top))] = (inode, status.st_mode, data)
        return found


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of distributions whenever a sync looks for collisions."""
    calls: list[int] = []

    def noted(wanted: list[Wanted], scheme: Scheme) -> object:
        calls.append(len(wanted))
        return find_collisions(wanted, scheme)

    monkeypatch.setattr(apply_plan, "find_collisions", noted)
    return calls


def test_a_second_environment_is_as_the_first(tmp_path: Path, pipm: Pipm, compared: list[int]) -> None:
    scene = Scene(tmp_path, pipm, MORE)
    first = scene.sync("one")
    assert compared == [2]
    second = scene.sync("two")
    assert compared == [2]
    assert scene.files("two") == scene.files("one")
    assert second.added == first.added
    assert scene.sync("two").unchanged == 2
    os.unlink(next(tmp_path.glob("two/lib/python*/site-packages/space/beta.py")))
    assert scene.sync("two").repaired == (("beta", "2.0"),)


def test_a_new_install_plan_makes_a_set_unknown(tmp_path: Path, pipm: Pipm, compared: list[int]) -> None:
    scene = Scene(tmp_path, pipm, MORE)
    scene.sync("one")
    (plan,) = glob.glob(f"{scene.store}/v1/wheels/beta/*/*/blueprint")
    os.unlink(plan)
    scene.sync("two")
    assert compared == [2, 2]
    assert scene.files("two") == scene.files("one")


def test_worktrees_have_the_same_set(tmp_path: Path, pipm: Pipm, compared: list[int]) -> None:
    """Their editable project has another entry in each."""
    scene = Scene(tmp_path, pipm, MORE)
    text = Path(scene.lock).read_text(encoding="utf-8")
    for tree in ("one", "two"):
        lock = Path(make_project(str(tmp_path / tree), "mine"), "pylock.toml")
        own = '[[packages]]\nname = "mine"\ndirectory = { path = ".", editable = true }\n'
        lock.write_text(text + own, encoding="utf-8")
        scene.lock = str(lock)
        done = scene.sync(f"{tree}/env")
        assert [name for name, _ in done.added] == ["alpha", "beta", "mine"]
        said = check(f"{tmp_path}/{tree}/env/bin/python", "-c", "import mine, beta; print(mine.__file__)")
        assert said.strip() == f"{tmp_path}/{tree}/mine.py"
        assert scene.sync(f"{tree}/env").unchanged == 3
    assert compared.count(3) == 1


def test_collisions_stay_errors(tmp_path: Path, pipm: Pipm) -> None:
    scene = Scene(tmp_path, pipm, {**MORE, "space/alpha/module.py": b"VALUE = 2\n"})
    scene.sync("one", clobber=True)
    with pytest.raises(CollisionError):
        scene.sync("two")
    scene.sync("three", clobber=True)
    assert scene.files("three") == scene.files("one")


def test_what_another_put_into_a_new_environment_is_compared(
    tmp_path: Path, pipm: Pipm, compared: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names may clash with those of the set, so a plan of the whole looks at them."""
    scene = Scene(tmp_path, pipm, MORE)
    scene.sync("one")
    site = next(tmp_path.glob("one/lib/python*/site-packages")).relative_to(tmp_path / "one")

    def meanwhile(store: Store, path: str) -> object:
        folder = tmp_path / "two" / site / "beta-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: beta\nVersion: 1.0\n")
        (folder / "RECORD").write_text("beta-1.0.dist-info/METADATA,,\nbeta-1.0.dist-info/RECORD,,\n")
        return find_root(store, path)

    monkeypatch.setattr(full_sync, "find_root", meanwhile)
    done = scene.sync("two")
    assert [old for _, old, _ in done.replaced] == ["1.0"]
    assert compared == [2, 2]
    assert scene.files("two") == scene.files("one")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_an_error_of_the_system_is_no_missing_file(
    tmp_path: Path, pipm: Pipm, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It would be repaired, with the distribution that it belongs to."""
    scene = Scene(tmp_path, pipm, MORE)
    scene.sync("one")
    shutil.rmtree(tmp_path / "cache")  # the next sync looks at each file
    real, before = os.open, scene.files("one")

    def failing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "space/alpha":
            raise OSError(number, os.strerror(number), path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(FileSystemError):
        scene.sync("one")
    monkeypatch.undo()
    assert scene.files("one") == before
