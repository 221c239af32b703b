"""An environment beside others that may share files with it, and the changes outside of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from support.installers import uv_environment
from support.locks import pylock
from support.pipm import DONE, FAILED, PARTLY, USAGE, Pipm
from support.states import foreign_differences, states
from support.synthetic import Environment, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.disks import Disk
    from support.pipm import Result
    from support.states import States
    from support.synthetic import Files

MAKERS = ("plain", "hardlink", "clone", "copy")
"""Who made the environment: a plain installer, or uv by a link mode of its own."""
EXECUTABLE = ("alpha/tool.sh",)
_numbers = itertools.count()


def distribution(name: str, version: str) -> Files:
    """Return a small package; most of its files are the same in each version."""
    files = package(name, modules=3)
    files[f"{name}/__init__.py"] = f"VERSION = {version!r}\n".encode() * 40
    files[f"{name}/only_{version.replace('.', '_')}.py"] = f"ONLY = {version!r}\n".encode() * 200
    files[f"{name}/mounted/data.bin"] = name.encode() * 2000
    files[f"{name}/sparse.bin"] = b"\0" * 300_000 + b"end"
    return files


@dataclass(kw_only=True)
class Neighbourhood:
    """A whole file system with one environment that commands name, the store, and everything else.

    ``disk`` is the mount point; ``folder``: where the files are (on btrfs, a subvolume). ``refusals``: a
    command may be refused (it comes at random, before there is a store, say).
    """

    disk: Disk
    folder: str
    cache: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    environment: Environment = field(init=False)
    pipm: Pipm = field(init=False)
    adopted: list[str] = field(default_factory=list)
    edited: bool = False
    finder: bool = False
    refusals: bool = False

    def __post_init__(self) -> None:
        """Make the folders and the wheels; the environment comes with `make`."""
        for name in ("home", "state", "outside"):
            os.mkdir(self.path(name))
        variables = {"HOME": self.path("home"), "UV_CACHE_DIR": self.path("uv")}
        # What pip runs to tell the index of the machine it is on would make a folder in the home.
        variables |= {"XDG_CACHE_HOME": self.path("state/cache"), "RUSTUP_HOME": self.path("state/rustup")}
        self.pipm = Pipm(store=self.path("state/store"), environ=variables, cwd=self.top)
        self.wheels = {
            (name, version): make_wheel(
                self.path("wheels"), f"{name}=={version}", distribution(name, version)
            )
            for name in ("alpha", "beta")
            for version in ("1.0", "2.0")
        }
        self.locks = {
            version: pylock(
                self.path(f"lock-{version}"), [self.wheels["alpha", version], self.wheels["beta", "1.0"]]
            )
            for version in ("1.0", "2.0")
        }

    @property
    def top(self) -> str:
        """Where the file system is mounted."""
        return self.disk.path

    def path(self, name: str) -> str:
        """Return a path on the file system."""
        return os.path.join(self.folder, name)

    def new(self, name: str) -> str:
        """Return a path that is not taken."""
        return self.path(f"{name}-{next(_numbers)}")

    def own(self, command: str) -> tuple[str, ...]:
        """Return what a command may change, relative to the mount point."""
        paths = [self.environment.path, self.path("state")]
        if command.startswith("sync") or (command.startswith("release") and self.finder):
            paths.append(self.path("outside/mounted"))  # where a file that is written anew goes
        if command.startswith("verify"):
            paths += self.adopted  # what the store shares with them is repaired there, too
        return tuple(os.path.relpath(path, self.top) for path in paths)

    def make(self, maker: str) -> None:
        """Make the environment: by a plain installer, or by uv with its cache here, and a sibling with it."""
        self.environment = self._installed(maker, self.path("named"))
        if maker != "plain":
            self._installed(maker, self.path("sibling"))

    def _installed(self, maker: str, path: str) -> Environment:
        if maker == "plain":
            environment = make_environment(path)
            for name in ("alpha", "beta"):
                install(environment, f"{name}==1.0", distribution(name, "1.0"), executable=EXECUTABLE)
        else:
            specs = (
                "--offline",
                "--no-index",
                "--find-links",
                self.path("wheels"),
                "alpha==1.0",
                "beta==1.0",
            )
            environment = uv_environment(path, *specs, cache=self.path("uv"), link_mode=maker)
        environment.compile()
        return environment

    def add(self, neighbour: str) -> list[str]:
        """Do what a key of `NEIGHBOURS` says; return what differs where nobody expects it."""
        return NEIGHBOURS[neighbour](self) or []

    def run(self, command: str) -> list[str]:
        """Run one of `COMMANDS`; return the differences outside of the files that it may change."""
        self.finder = self.finder or "finder" in command
        _, found = self.watch(*self.arguments(command), own=self.own(command))
        return found

    def watch(self, *arguments: str, own: tuple[str, ...]) -> tuple[Result, list[str]]:
        """Run a command; return its result and what differs outside of *own*."""
        before = states(self.top)
        result = self.pipm(*arguments)
        assert "Traceback" not in result.err, result.err
        assert "Internal error" not in result.err, result.err
        # An environment that the finder serves takes no other link mode before it is released.
        refusals = [FAILED, USAGE] if self.refusals else [USAGE] if self.finder else []
        result.expect(DONE, PARTLY, *([FAILED] if self.edited else []), *refusals)
        return result, foreign_differences(before, states(self.top), *own)

    def arguments(self, command: str) -> list[str]:
        """Return the arguments of a command, with the environment's and the locks' paths filled in."""
        named = {"ENV": self.environment.path, "LOCK1": self.locks["1.0"], "LOCK2": self.locks["2.0"]}
        return [named.get(word, word) for word in command.split()]

    def states(self) -> States:
        """Return the state of the environment."""
        return states(self.environment.path)


def _copy_by(options: tuple[str, ...], place: Neighbourhood, name: str) -> str:
    path = place.new(name)
    # Hard links into a folder that is mounted there fail, and cp goes on.
    subprocess.run(["cp", *options, place.environment.path, path], check=False, stderr=subprocess.DEVNULL)
    assert os.path.exists(os.path.join(path, "pyvenv.cfg"))
    return path


def _copy(name: str, *options: str) -> Callable[[Neighbourhood], None]:
    def copy(place: Neighbourhood) -> None:
        _copy_by(options, place, name)

    return copy


def _linked_files(place: Neighbourhood) -> None:
    """The user has files of the environment under names of his own: source, bytecode, data, metadata."""
    environment = place.environment
    folder = place.new("home/linked")
    os.mkdir(folder)
    names = ["alpha/__init__.py", "alpha/data/table.bin", "beta/module_1.py", "beta-1.0.dist-info/METADATA"]
    for number, path in enumerate([*map(environment.file, names), environment.bytecode("alpha/__init__.py")]):
        if os.path.isfile(path) and not os.path.islink(path):
            os.link(path, os.path.join(folder, str(number)))


def _attributes(place: Neighbourhood) -> None:
    """Files of the environment get what not every file has."""
    environment = place.environment
    files = [environment.file(name) for name in ("alpha/data/table.bin", "beta/tool.sh")]
    if any(os.path.islink(path) or not os.path.exists(path) for path in files):
        return  # the finder or symlinks serve them: they are the store's
    os.setxattr(environment.file("alpha/data/table.bin"), "user.note", b"keep")
    os.chmod(environment.file("alpha/data/small.bin"), 0o600)
    os.chown(environment.file("beta/data/small.bin"), 12345, 12345)
    subprocess.run(["setfacl", "-m", "u:12345:r", environment.file("beta/__init__.py")], check=True)
    subprocess.run(["setcap", "cap_net_raw+ep", environment.file("beta/tool.sh")], check=True)


def _mounted(place: Neighbourhood) -> None:
    """A folder inside of site-packages is a user's folder, by a bind mount."""
    point, folder = place.environment.file("alpha/mounted"), place.path("outside/mounted")
    if os.path.exists(folder) or not os.path.isdir(point):  # nothing is there where the finder serves it
        return
    subprocess.run(["cp", "-a", point, folder], check=True)
    subprocess.run(["mount", "--bind", folder, point], check=True)
    place.cache.callback(subprocess.run, ["umount", point], check=True)


def _snapshot(*options: str) -> Callable[[Neighbourhood], None]:
    def take(place: Neighbourhood) -> None:
        if place.disk.kind == "btrfs":
            target = os.path.join(place.top, f"snapshot-{next(_numbers)}")
            command = ["btrfs", "-q", "subvolume", "snapshot", *options, place.folder, target]
            subprocess.run(command, check=True)
            place.cache.callback(subprocess.run, ["btrfs", "-q", "subvolume", "delete", target], check=True)

    return take


def _adopted(*options: str) -> Callable[[Neighbourhood], list[str]]:
    """A copy that the same store shares, too."""

    def copy(place: Neighbourhood) -> list[str]:
        path = _copy_by(options, place, "adopted")
        place.adopted.append(path)
        own = (os.path.relpath(path, place.top), os.path.relpath(place.path("state"), place.top))
        _, found = place.watch("adopt", path, own=own)
        return found

    return copy


def _edit(name: str) -> Callable[[Neighbourhood], None]:
    def edit(place: Neighbourhood) -> None:
        """Somebody writes into a file of the environment in place, whoever has it, too."""
        path = place.environment.file(name)
        if os.path.isfile(path) and not os.path.islink(path):
            place.edited = True
            with open(path, "r+b") as file:
                file.seek(20)
                file.write(b"# edited\n")

    return edit


NEIGHBOURS: dict[str, Callable[[Neighbourhood], list[str] | None]] = {
    "attributes": _attributes,
    "backup by hard links": _copy("backup", "-al"),
    "backup by reflinks": _copy("backup", "-a", "--reflink=auto"),
    "backup": _copy("backup", "-a", "--reflink=never"),
    "linked files": _linked_files,
    "bind mount": _mounted,
    "read-only snapshot": _snapshot("-r"),
    "snapshot": _snapshot(),
    "adopted copy": _adopted("-a", "--reflink=never"),
    "adopted copy by hard links": _adopted("-al"),
    "edited data": _edit("alpha/data/table.bin"),
    "edited module": _edit("alpha/__init__.py"),
}
COMMANDS = (
    "adopt ENV --link-mode MODE",
    "adopt ENV --link-mode MODE -n",
    "verify",
    "verify ENV --full",
    "verify ENV --full --repair",
    "sync LOCK2 --env ENV --link-mode MODE",
    "sync LOCK1 --env ENV --link-mode MODE",
    "sync LOCK2 --env ENV --link-mode copy",
    "gc --keep 0",
    "release ENV -n",
    "release ENV --dist alpha",
    "release ENV",
    "list",
    "df",
    "why alpha",
)
"""Each changes nothing outside of ENV and the store; MODE is a link mode."""


@contextlib.contextmanager
def neighbourhood(disk: Disk) -> Iterator[Neighbourhood]:
    """Make a fresh folder (on btrfs a subvolume) on a whole file system; remove it at the end."""
    folder = disk / f"place-{next(_numbers)}"
    if disk.kind == "btrfs":
        subprocess.run(["btrfs", "-q", "subvolume", "create", folder], check=True)
    else:
        os.mkdir(folder)
    place = Neighbourhood(disk=disk, folder=folder)
    try:
        with place.cache:
            yield place
    finally:
        shutil.rmtree(folder)


def run_steps(place: Neighbourhood, steps: Iterable[str]) -> None:
    """Add neighbours and run commands in turn; after each nothing that it may not change differs."""
    done: list[str] = []
    for step in steps:
        found = place.add(step) if step in NEIGHBOURS else place.run(step)
        done.append(step)
        assert found == [], f"after {done}:\n" + "\n".join(found[:20])


def modes(disk: Disk) -> tuple[str, ...]:
    """Return the link modes that a file system has."""
    return ("auto", "hardlink", "symlink", "finder", *(["reflink"] if disk.reflinks else []))


def sequences(disk: Disk) -> st.SearchStrategy[tuple[str, list[str]]]:
    """Return a strategy for the maker of the environment, and for the events around it."""
    commands = st.sampled_from(COMMANDS)
    mode = st.sampled_from(modes(disk))
    command = st.builds(lambda text, mode: text.replace("MODE", mode), commands, mode)
    adopt = mode.map(lambda mode: f"adopt ENV --link-mode {mode}")
    step = st.one_of(st.sampled_from(sorted(NEIGHBOURS)), command, adopt)
    return st.tuples(st.sampled_from(MAKERS), st.lists(step, min_size=4, max_size=12))


def run_random(disk: Disk, *, examples: int, seed: int) -> None:
    """Run random sequences on a whole file system; raise with the shortest one that fails."""

    @hypothesis_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sequences(disk))
    def check(sequence: tuple[str, list[str]]) -> None:
        maker, steps = sequence
        with neighbourhood(disk) as place:
            place.refusals = True
            place.make(maker)
            run_steps(place, steps)

    check()
