"""A sync replaces a distribution: other files stay, and none of the old ones."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from pipm.context.progress import Progress
from pipm.core.selection import Selection
from pipm.fs import swap_folders
from pipm.fs.late_files import note_own
from pipm.fs.link_modes import LinkMode
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.locks import pylock
from support.pipm import FAILED
from support.process import check
from support.snapshot import snapshot
from support.synthetic import Environment, make_wheel, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from support.pipm import Pipm

OLD = {
    "alpha/__init__.py": b"V = 1\n",
    "alpha/gone.py": b"",
    "alpha/inner/data.txt": b"old\n",
    "alpha.libs/libx-1.so": b"1",
    "dropped/__init__.py": b"",
    "shape/__init__.py": b"",
    "space/alpha/__init__.py": b"V = 1\n",
    "turned": b"a file\n",
}
NEW = {
    "alpha/__init__.py": b"V = 2\n",
    "alpha/come.py": b"",
    "alpha.libs/libx-2.so": b"2",
    "shape.py": b"",
    "space/alpha/__init__.py": b"V = 2\n",
    "turned/file": b"a folder now\n",
}


def _sync(pipm: Pipm, folder: Path, *wheels: str) -> Environment:
    lock = pylock(str(folder), wheels)
    made, options = Environment(path=f"{folder}/env"), SyncOptions(link_mode=LinkMode.HARDLINK)
    sync(pipm.store, made.path, open_lock(lock, Selection(), ()), options, Progress())
    return made


def _files(environment: Environment) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(environment.site):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), environment.site)
            if ".dist-info" not in path and not path.endswith(".pyc"):
                with open(os.path.join(folder, name), encoding="ascii") as file:
                    found[path] = file.read()
    return found


@pytest.mark.parametrize("how", ["exchanged", "renamed", "merged"])
@pytest.mark.parametrize("strange", [False, True])
def test_only_what_is_its_own_goes(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, *, strange: bool
) -> None:
    """The file system swaps folders, knows only rename, or moves no folder (a lower layer's)."""
    if how != "exchanged":
        monkeypatch.setattr(swap_folders, "_exchange_call", lambda: None)
    if how == "merged":
        take, is_folder = swap_folders._take, swap_folders._is_folder
        monkeypatch.setattr(
            swap_folders,
            "_take",
            lambda target, name, staged: not is_folder(target, name) and take(target, name, staged),
        )
    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    beta = make_wheel(f"{tmp_path}/wheels", "beta==1.0", {"space/beta.py": b"B = 1\n"})
    pipm("store", "add", old, new, beta).expect()
    made = _sync(pipm, tmp_path, old, beta)
    own = {}
    if strange:
        own = {"alpha/inner/own.txt": "mine", "alpha/__pycache__/own.nbi": "mine", "dropped/own.py": "mine"}
    for path, text in own.items():
        write(made.file(path), text.encode())
    inode = os.stat(made.file("space/beta.py")).st_ino
    _sync(pipm, tmp_path, new, beta)
    right = {path: data.decode() for path, data in NEW.items()} | own | {"space/beta.py": "B = 1\n"}
    assert _files(made) == right
    assert os.stat(made.file("space/beta.py")).st_ino == inode
    assert sorted(os.listdir(made.site)) == sorted(
        {path.split("/")[0] for path in right}
        | {"alpha-2.0.dist-info", "beta-1.0.dist-info"}
        | {"__pycache__"}
    )
    assert not os.path.exists(f"{made.path}/.pipm-tmp")
    assert made.run("import alpha, shape, space.alpha, space.beta; print(alpha.V, space.alpha.V)") == "2 2\n"


@pytest.mark.parametrize("ends", ["well", "interrupted", "killed"])
@pytest.mark.parametrize("how", ["exchanged", "renamed"])
def test_what_comes_meanwhile_stays(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, ends: str
) -> None:
    """A program whose current folder is swapped writes into the old one; the sync may end there."""
    if how != "exchanged":
        monkeypatch.setattr(swap_folders, "_exchange_call", lambda: None)
    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    made = _sync(pipm, tmp_path, old)
    own = ["alpha/own.txt", "alpha/inner/own.txt", "alpha/mine/own.txt"]
    exchange = swap_folders.SwapFolders._exchange

    def interfere(swap: swap_folders.SwapFolders, staged: int, name: str, target: int, place: str) -> bool:
        if place.endswith("site-packages/alpha"):
            for path in own:
                write(made.file(path), b"mine")
            write(made.file("alpha/__pycache__/gone.other.pyc"), b"bytecode")
        done = exchange(swap, staged, name, target, place)
        if ends != "well" and place.endswith("site-packages/alpha"):
            if ends == "killed":
                os._exit(9)
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(swap_folders.SwapFolders, "_exchange", interfere)
    _in_child(lambda: _sync(pipm, tmp_path, new))
    monkeypatch.undo()
    assert _files(_sync(pipm, tmp_path, new)) == (
        {path: data.decode() for path, data in NEW.items()} | dict.fromkeys(own, "mine")
    )
    assert not os.path.exists(made.file("alpha/__pycache__/gone.other.pyc"))
    assert not os.path.exists(f"{made.path}/.pipm-tmp")


@pytest.mark.parametrize("place", ["dropped", "shape", "alpha-1.0.dist-info"])
def test_what_came_into_a_folder_that_goes_stays(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It has no successor, or a file, or one of the same name; each step back is taken by another command."""
    old, new = (
        make_wheel(f"{tmp_path}/{number}", "alpha==1.0", files)
        for number, files in ((1, OLD), (2, {**NEW, "shape": b"a file now\n"}))
    )
    made, is_known = _sync(pipm, tmp_path, old), swap_folders.SwapFolders._may_go

    def interfere(swap: swap_folders.SwapFolders, parent: int, name: str, path: str) -> bool:
        done = is_known(swap, parent, name, path)
        if path.endswith(f"site-packages/{place}"):
            write(made.file(f"{place}/late.txt"), b"mine")
        return done

    def removed(*_: object) -> None:
        os._exit(9)

    monkeypatch.setattr(swap_folders.SwapFolders, "_may_go", interfere)
    monkeypatch.setattr("pipm.fs.late_files.give_back", removed)
    _in_child(lambda: _sync(pipm, tmp_path, new))
    monkeypatch.undo()
    assert not os.path.exists(made.file(f"{place}/late.txt"))
    pipm("verify", made.path).expect(0, 1)
    pipm("sync", f"{tmp_path}/pylock.toml", "--env", made.path).expect()
    (late,) = tmp_path.glob(f"env/**/{place}/late.txt")
    assert late.read_text() == "mine"
    assert ("pipm-kept-" in str(late)) == (place == "shape")
    assert not os.path.exists(f"{made.path}/.pipm-tmp")


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_note_cut_short_brings_no_new_file(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A full disk, a kill or a power cut while it is written: no folder has changed places yet."""
    old, new = (
        make_wheel(f"{tmp_path}/{number}", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, {**NEW, "alpha/only_new.py": b""}))
    )
    made = _sync(pipm, tmp_path, old)
    before = snapshot(made.path)

    def torn(staging: int, paths: Iterable[str]) -> None:
        note_own(staging, paths)
        os.truncate(f"{made.path}/.pipm-tmp/own", size % os.stat("own", dir_fd=staging).st_size)
        os._exit(9)

    monkeypatch.setattr("pipm.sync.replace.note_own", torn)
    _in_child(lambda: _sync(pipm, tmp_path, new))
    assert os.path.exists(f"{made.path}/.pipm-tmp/own")
    pipm("adopt", made.path).expect()
    assert snapshot(made.path) == before


def test_what_came_twice_stays(pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program wrote a file of that name into the new folder, too: the older one is kept aside."""
    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    made, exchange = _sync(pipm, tmp_path, old), swap_folders.SwapFolders._exchange

    def interfere(swap: swap_folders.SwapFolders, staged: int, name: str, target: int, place: str) -> bool:
        here = place.endswith("site-packages/alpha")
        if here:
            write(made.file("alpha/own.txt"), b"older")
        done = exchange(swap, staged, name, target, place)
        if here:
            write(made.file("alpha/own.txt"), b"newer")
        return done

    monkeypatch.setattr(swap_folders.SwapFolders, "_exchange", interfere)
    _sync(pipm, tmp_path, new)
    with open(made.file("alpha/own.txt"), encoding="ascii") as file:
        assert file.read() == "newer"
    (kept,) = tmp_path.glob("env/pipm-kept-*/lib/*/site-packages/alpha/own.txt")
    assert kept.read_text() == "older"


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("strange", ["a link", "a file", "a folder"])
def test_a_clash_is_found_before_anything_changes(
    pipm: Pipm, tmp_path: Path, strange: str, *, replaced: bool
) -> None:
    """What comes, or what is replaced, does not fit; others would be replaced before it."""
    kept = [
        make_wheel(f"{tmp_path}/wheels", f"first=={number}.0", {"first.py": b"%d" % number})
        for number in (1, 2)
    ]
    last = [
        make_wheel(f"{tmp_path}/wheels", f"last=={number}.0", {"last/a.py": b"%d" % number, "last/data": b""})
        for number in (1, 2)
    ]
    made = _sync(pipm, tmp_path, kept[0], *last[: int(replaced)])
    write(f"{tmp_path}/elsewhere/a.py", b"mine")
    place = made.file("last/data" if strange == "a folder" else "last")
    if os.path.isdir(made.file("last")) and strange != "a folder":
        shutil.rmtree(place)
    if strange == "a folder":
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        write(f"{place}/own.txt", b"mine")
    elif strange == "a link":
        os.symlink(f"{tmp_path}/elsewhere", place)
    else:
        write(place, b"mine")
    before = snapshot(made.path)
    lock = pylock(str(tmp_path), [kept[1], last[1]])
    failed = pipm("sync", lock, "--env", made.path, "--json").expect(FAILED)
    assert failed.error["kind"] == "file-system"
    assert failed.error["message"].startswith(f"{place} is ")
    assert snapshot(made.path) == before
    assert os.listdir(f"{tmp_path}/elsewhere") == ["a.py"]
    os.rename(place, f"{tmp_path}/away")
    pipm("sync", lock, "--env", made.path).expect()
    assert made.run("import first, last.a") == ""


def _in_child(call: Callable[[], object]) -> None:
    """Call *call* in a process of its own, which may be killed."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            call()
        os._exit(0)
    os.waitpid(child, 0)


def test_another_build_of_the_same_version(pipm: Pipm, tmp_path: Path) -> None:
    """The metadata folder keeps its name, and the own file that is in it."""
    old, new = (
        make_wheel(f"{tmp_path}/{number}", "alpha==1.0", files) for number, files in ((1, OLD), (2, NEW))
    )
    made = _sync(pipm, tmp_path, old)
    write(made.file("alpha-1.0.dist-info/own.txt"), b"mine")
    _sync(pipm, tmp_path, new)
    assert _files(made) == {path: data.decode() for path, data in NEW.items()}
    with open(made.file("alpha-1.0.dist-info/RECORD"), encoding="ascii") as file:
        assert "alpha/come.py" in file.read()
    assert os.path.exists(made.file("alpha-1.0.dist-info/own.txt"))


def test_new_folders_have_the_group_of_those_above(pipm: Pipm, tmp_path: Path) -> None:
    """Although they are made elsewhere: setgid of site-packages counts."""
    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    made = _sync(pipm, tmp_path, old)
    group = 4321 if os.geteuid() == 0 else os.getegid()
    os.chown(made.site, -1, group)
    os.chmod(made.site, 0o2755)
    _sync(pipm, tmp_path, new)
    status = os.stat(made.file("alpha"))
    assert (status.st_gid, status.st_mode & 0o2000) == (group, 0o2000)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chown")
def test_a_group_that_the_user_is_no_member_of(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but root gives it to new folders; the sync works."""

    def refuse(*_: int) -> None:
        raise PermissionError

    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    made = _sync(pipm, tmp_path, old)
    os.chown(made.site, -1, 4321)
    monkeypatch.setattr(os, "fchown", refuse)
    _sync(pipm, tmp_path, new)
    assert _files(made) == {path: data.decode() for path, data in NEW.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount")
def test_a_mounted_folder_stays(pipm: Pipm, tmp_path: Path) -> None:
    """No rename leads into another file system: files are copied, and it is not moved."""
    old, new = (
        make_wheel(f"{tmp_path}/wheels", f"alpha=={number}.0", files)
        for number, files in ((1, OLD), (2, NEW))
    )
    made = _sync(pipm, tmp_path, old)
    folder = f"{made.site}/space/alpha"
    check("mount", "-t", "tmpfs", "tmpfs", folder)
    try:
        write(f"{folder}/own.txt", b"of the other file system\n")
        _sync(pipm, tmp_path, new)
        assert sorted(os.listdir(folder)) == ["__init__.py", "__pycache__", "own.txt"]
        assert os.path.ismount(folder)
        assert _files(made)["space/alpha/__init__.py"] == "V = 2\n"
    finally:
        check("umount", folder)


def test_bytecode_that_python_wrote_goes(pipm: Pipm, tmp_path: Path) -> None:
    """Old bytecode fits a new source of the same size and second, also in a folder that is not swapped."""
    files = {"single.py": b"V = 1\n", "alpha/__init__.py": b"V = 1\n"}
    old = make_wheel(f"{tmp_path}/wheels", "alpha==1.0", files)
    new = make_wheel(f"{tmp_path}/wheels", "alpha==2.0", dict.fromkeys(files, b"V = 2\n"))
    made, options = Environment(path=f"{tmp_path}/env"), SyncOptions(compiled=False)
    sync(pipm.store, made.path, open_lock(pylock(str(tmp_path), [old]), Selection(), ()), options, Progress())
    check(made.python, "-c", "import single, alpha")
    write(f"{made.site}/alpha/own.txt", b"stays\n")
    written = sorted(str(path) for path in tmp_path.glob("env/lib/*/site-packages/**/*.pyc"))
    assert len(written) == 2
    sync(pipm.store, made.path, open_lock(pylock(str(tmp_path), [new]), Selection(), ()), options, Progress())
    assert [path for path in written if os.path.exists(path)] == []
    assert os.path.exists(f"{made.site}/alpha/own.txt")
