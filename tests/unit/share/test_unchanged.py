"""The cache of unchanged environments: each change of an environment voids what was noted."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pipm.env.environment import load_environment
from pipm.fs.opened import opened_folder
from pipm.share.adoption import AdoptOptions
from pipm.share.unchanged import UnchangedCache, _look_at_all
from pipm.store.layout import open_store
from pipm.store.roots import find_root
from support.pipm import PARTLY, Pipm
from support.synthetic import Environment, install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.disks import Disk


def holds(pipm: Pipm, environment: Environment) -> bool:
    """Whether the cache has a result for *environment*."""
    store = open_store(pipm.store)
    assert store is not None
    cache = UnchangedCache(store, AdoptOptions())
    loaded = load_environment(environment.path)
    with opened_folder(loaded.path) as root:
        return cache.look(loaded, find_root(store, loaded.path), root) is not None


def prepared(folder: str, versions: Sequence[int]) -> tuple[Pipm, list[Environment]]:
    """Adopted environments, each with a version of alpha and an edited file, noted as unchanged."""
    pipm = Pipm(store=f"{folder}/store", environ={"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]})
    made = [make_environment(f"{folder}/{number}") for number in range(len(versions))]
    for environment, version in zip(made, versions, strict=True):
        install(environment, f"alpha==1.{version}", package("alpha", modules=4, seed=version))
        environment.compile()
        Path(environment.file("alpha/module_3.py")).write_text("edited = True\n")
    paths = [environment.path for environment in made]
    pipm.adopt(*paths)
    assert not any(holds(pipm, environment) for environment in made)
    checked = pipm("adopt", *paths, "--json").expect().json
    assert all(holds(pipm, environment) for environment in made)
    again = pipm("adopt", *paths, "--json").expect().json
    for document in (checked, again):
        for row in document["environments"]:
            del row["seconds"]
    assert again == checked
    return pipm, made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")
    return f"{tmp_path}/cache"


def in_place(path: str) -> None:
    """Change a byte, and nothing that `ls` shows but the time."""
    size = os.path.getsize(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.write(b"#")
    assert os.path.getsize(path) == size


def replaced(path: str) -> None:
    """Put an equal copy with all times in the place of a file."""
    shutil.copy2(path, f"{path}.new")
    os.replace(f"{path}.new", path)


def behind_link(path: str) -> None:
    """Move a folder away, and lead to it by a symlink."""
    os.rename(path, f"{path}-real")
    os.symlink(f"{path}-real", path)


CHANGES: dict[str, Callable[[Environment], object]] = {
    "shared file in place": lambda one: in_place(one.file("alpha/module_1.py")),
    "bytecode in place": lambda one: in_place(one.bytecode("alpha/module_1.py")),
    "own file in place": lambda one: in_place(one.file("alpha/module_3.py")),
    "RECORD in place": lambda one: in_place(next(iter(glob(one.file("alpha-*/RECORD"))))),
    "replaced": lambda one: replaced(one.file("alpha/module_1.py")),
    "gone": lambda one: os.unlink(one.file("alpha/module_1.py")),
    "new file": lambda one: Path(one.file("alpha/new.py")).touch(),
    "new bytecode": lambda one: Path(one.bytecode("alpha/new.py")).touch(),
    "new distribution": lambda one: install(one, "beta==1.0", package("beta")),
    "mode": lambda one: os.chmod(one.file("alpha/module_1.py"), 0o4555),
    "attribute": lambda one: os.setxattr(one.file("alpha/module_1.py"), "user.x", b"1"),
    "symlink for a folder": lambda one: behind_link(one.file("alpha")),
    "interpreter": lambda one: os.unlink(one.python),
}


def test_each_change_is_seen(either_mode: Disk) -> None:
    pipm, made = prepared(either_mode.path, range(len(CHANGES)))
    unseen = []
    for environment, (name, change) in zip(made, CHANGES.items(), strict=True):
        assert holds(pipm, environment), name
        change(environment)
        if holds(pipm, environment):
            unseen.append(name)
    assert unseen == []


def test_what_others_do(tmp_path: Path) -> None:
    """A new link changes the ctime of the common inodes, and no more; an edit through it is told."""
    pipm, (one, two, three) = prepared(str(tmp_path), (0, 0, 1))
    new = make_environment(f"{tmp_path}/new")
    install(new, "alpha==1.0", package("alpha", modules=4, seed=0))
    pipm.adopt(new.path)
    assert holds(pipm, one)
    pipm("release", "--dist", "alpha", new.path).expect()
    assert holds(pipm, one)
    in_place(one.file("alpha/module_1.py"))
    assert not holds(pipm, two)
    told = pipm("adopt", two.path).expect(PARTLY)
    without = replace(pipm, environ={"XDG_CACHE_HOME": f"{tmp_path}/empty"})
    assert without("adopt", two.path).expect(PARTLY).err == told.err
    assert "alpha/module_1.py" in told.err
    shutil.rmtree(f"{pipm.store}/v1/wheels/alpha/1.1")
    assert not holds(pipm, three)


def test_old_results_are_removed(tmp_path: Path, cache: str) -> None:
    pipm, (one,) = prepared(str(tmp_path), (0,))
    (noted,) = Path(cache, "pipm").glob("adopted-*")
    os.utime(noted, (0, 0))
    two = make_environment(f"{tmp_path}/two")
    install(two, "alpha==1.0", package("alpha", modules=4, seed=0))
    pipm.adopt(two.path)
    pipm.adopt(two.path)
    assert holds(pipm, two)
    assert not holds(pipm, one)


def test_nothing_newer_than_the_run_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (0, 0))  # a file's time proves nothing: its ctime counts
    changed = os.stat(tmp_path / "file").st_ctime_ns
    with opened_folder(str(tmp_path)) as root:
        assert _look_at_all(root, changed, frozenset()) is None
        assert _look_at_all(root, changed + 3_000_000_000, frozenset()) is not None
