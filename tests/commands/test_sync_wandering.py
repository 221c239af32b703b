"""An environment that is damaged and synced to other locks equals a new one each time."""

from __future__ import annotations

import os
import random
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from pipm.context.progress import Progress
from pipm.core.selection import Selection
from pipm.fs.link_modes import LinkMode
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.locks import pylock
from support.process import run
from support.synthetic import make_wheel
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.pipm import Pipm

CHOICES = {
    "top": {"1.0": {"top.py": b"VALUE = 1\n"}, "2.0": {"top.py": b"VALUE = 2.0\n"}},
    "plain": {
        "1.0": {"plain/__init__.py": b"", "plain/a.py": b"A = 1\n", "plain/in/b.txt": b"some text\n"},
        "1.1": {"plain/__init__.py": b"X = 0\n", "plain/other/c.py": b"C = 11\n"},
    },
    "one": {"1.0": {"shared/one.py": b"ONE = 1\n", "shared/deep/one.txt": b"one\n"}},
    "two": {"1.0": {"shared/two.py": b"TWO = 2\n"}, "3.0": {"shared/deep/two.py": b"TWO = 3\n"}},
    "tool": {
        "1.0": {
            "tool.py": b"def main(): pass\n",
            "tool-1.0.data/scripts/tool-old": b"#!python\nprint('old')\n",
            "tool-1.0.data/data/share/tool/notes.txt": b"notes\n",
            "tool-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntool = tool:main\n",
        },
    },
    "path": {"1.0": {"path.pth": b"# nothing\n", "path/__init__.py": b"P = 1\n"}},
}

_OF_SCRIPT = re.compile(rb"(?m)^(\.\./\.\./\.\./bin/[^,]+),.*")


class Walk:
    """One environment, its store, and wheels of all `CHOICES`."""

    def __init__(self, folder: str, pipm: Pipm, options: SyncOptions, seed: int) -> None:
        self.folder, self.store, self.options = folder, pipm.store, options
        self.chance = random.Random(seed)
        self.path = f"{folder}/env"
        self.wheels = {
            (name, version): make_wheel(f"{folder}/wheels", f"{name}=={version}", files)
            for name, versions in CHOICES.items()
            for version, files in versions.items()
        }
        pipm("store", "add", *self.wheels.values()).expect()
        self._new: dict[frozenset[str], dict[str, bytes]] = {}

    def some_wheels(self) -> frozenset[str]:
        """A lock's worth."""
        names = ["one", *(name for name in CHOICES if name != "one" and self.chance.random() < 0.7)]
        return frozenset(self.wheels[name, self.chance.choice(list(CHOICES[name]))] for name in names)

    def sync(self, path: str, wheels: frozenset[str]) -> None:
        """Make the environment at *path* have *wheels*."""
        lock = open_lock(pylock(self.folder, sorted(wheels)), Selection(), ())
        sync(self.store, path, lock, self.options, Progress())

    def new(self, wheels: frozenset[str]) -> dict[str, bytes]:
        """What a new environment of *wheels* has."""
        if wheels not in self._new:
            path = f"{self.folder}/new"
            shutil.rmtree(path, ignore_errors=True)
            self.sync(path, wheels)
            self._new[wheels] = files_of(path)
        return self._new[wheels]

    def damage(self, *, same: bool) -> str:
        """Do something to the environment; what it was.

        Unless the lock is the *same*, RECORD stays: without it nobody knows what belongs to a distribution
        that shall go, and its files are left.
        """
        site = next(f"lib/{name}/site-packages" for name in sorted(os.listdir(f"{self.path}/lib")))
        kind = self.chance.choice(list(DAMAGES))
        names = [name for name in files_of(self.path) if name.startswith((site, "share", "bin/tool"))]
        if not same:
            names = [name for name in names if not name.endswith(".dist-info/RECORD")]
            if kind == "remove the folder of":
                names = [name for name in names if ".dist-info/" not in name]
        if kind in ("replace", "append"):  # Python itself writes bytecode anew where it is of no use
            names = [name for name in names if not name.endswith(".pyc")]
        if not names:
            return "nothing"
        victim = f"{self.path}/{self.chance.choice(sorted(names))}"
        DAMAGES[kind](victim)
        return f"{kind} {victim}"

    def by_uv(self, uv: str) -> str:
        """Let uv install or uninstall something; return what it was."""
        name = self.chance.choice(list(CHOICES))
        if self.chance.random() < 0.5:
            wheel = self.wheels[name, self.chance.choice(list(CHOICES[name]))]
            command = ["install", "--no-deps", "--no-index", "--link-mode", "copy", "--reinstall", wheel]
        else:
            command = ["uninstall", name]
        done = run(uv, "pip", *command, "--python", f"{self.path}/bin/python", cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return " ".join(command)


def contents(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those of *files* that are the same whoever installed them."""
    own = (".pyc", "/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json", "/uv_cache.json", ".lock")
    return {
        name: data
        for name, data in files.items()
        if not name.endswith(own) and not name.startswith("bin/") and "/000_pipm" not in name
    }


def files_of(path: str) -> dict[str, bytes]:
    """Return the bytes of all files of an environment except its interpreter's, without its own path."""
    found = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if os.path.join(folder, name) != f"{path}/.pipm"]
        for name in names:
            file = os.path.join(folder, name)
            if not name.startswith(("python", "activate", "Activate")) and name != "pyvenv.cfg":
                with open(file, "rb") as stream:
                    # A script names its environment's interpreter, so RECORD has another hash of it.
                    data = _OF_SCRIPT.sub(rb"\1", stream.read().replace(path.encode(), b"ENV"))
                found[os.path.relpath(file, path)] = data
    return found


def replace(path: str) -> None:
    """As an editor writes: another inode, of another size."""
    with open(f"{path}.new", "wb") as stream:
        stream.write(b"# what somebody wrote here instead\n" * 9)
    os.replace(f"{path}.new", path)


def append(path: str) -> None:
    """In place, where the file is the environment's own."""
    if os.stat(path).st_nlink > 1:
        os.utime(os.path.dirname(path))
        return
    with open(path, "ab") as stream:
        stream.write(b"# more\n")


def remove_folder(path: str) -> None:
    """Remove the folder of the file, but never site-packages or bin."""
    above = os.path.dirname(path)
    if os.path.basename(above) in ("site-packages", "bin"):
        os.unlink(path)
    else:
        shutil.rmtree(above)


DAMAGES: dict[str, Callable[[str], None]] = {
    "unlink": os.unlink,
    "replace": replace,
    "append": append,
    "remove the folder of": remove_folder,
    "touch": lambda path: os.utime(os.path.dirname(path)),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")
        yield


KINDS = {
    "links": SyncOptions(link_mode=LinkMode.HARDLINK),
    "links without bytecode": SyncOptions(link_mode=LinkMode.HARDLINK, compiled=False),
    "copies": SyncOptions(link_mode=LinkMode.COPY),
    "finder": SyncOptions(link_mode=LinkMode.FINDER),
    "finder without metadata": SyncOptions(link_mode=LinkMode.FINDER, dist_info=False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(int(os.environ.get("PIPM_WALKS", "2"))))
def test_from_lock_to_lock(tmp_path: Path, pipm: Pipm, kind: str, seed: int) -> None:
    """PIPM_WALKS=60 takes five minutes."""
    walk = Walk(str(tmp_path), pipm, KINDS[kind], seed)
    wheels = walk.some_wheels()
    walk.sync(walk.path, wheels)
    story = [f"{sorted(map(os.path.basename, wheels))}"]
    for _ in range(25):
        same = walk.chance.random() < 0.4
        story += [walk.damage(same=same) for _ in range(walk.chance.choice((0, 0, 1, 2)))]
        wheels = wheels if same else walk.some_wheels()
        story.append("the same lock" if same else f"{sorted(map(os.path.basename, wheels))}")
        walk.sync(walk.path, wheels)
        assert files_of(walk.path) == walk.new(wheels), "\n".join(story)


@pytest.mark.parametrize("kind", ["links", "finder", "finder without metadata"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("PIPM_WALKS", "1"))))
def test_from_lock_to_lock_with_uv_on_the_way(tmp_path: Path, pipm: Pipm, kind: str, seed: int) -> None:
    """What uv installed out of the same wheel stays where files are linked, and goes where it is served."""
    uv = find_tool("uv")
    walk = Walk(str(tmp_path), pipm, KINDS[kind], seed)
    story = []
    for _ in range(12):
        wheels = walk.some_wheels()
        story.append(f"{sorted(map(os.path.basename, wheels))}")
        for _ in range(3):
            walk.sync(walk.path, wheels)
            assert contents(files_of(walk.path)) == contents(walk.new(wheels)), "\n".join(story)
            story += [walk.by_uv(uv), walk.damage(same=False)]
