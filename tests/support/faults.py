"""One fault at one system call: the command is killed, or the call fails; then the result is checked.

An image of the prepared state is copied by reflink for each point, so each begins with the very same inodes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import platform
import shutil
from typing import TYPE_CHECKING

import pytest

from support.disks import Disk, make_image, mounted
from support.extents import clone
from support.fault_points import CHANGES, KILL, Point, Shape, Sites, chosen, every, numbers, sample, sites
from support.faults_cases import CASES, Case
from support.forked import Fault, Forks
from support.process import SOURCES, clean_environ
from support.snapshot import file_digest
from support.states import state, state_differences
from support.store import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.pipm import Result
    from support.states import State, States

_OPTIONS = {"ext4": "", "xfs": "nouuid", "btrfs": ""}
_TRACEBACK = ("Traceback (most recent call last)", "Internal error")
_VAGUE = ("identity", "links", "ctime", "extents", "data")
"""Of a file's state, what may differ between two right results."""
_TORN = (".pyvenv.cfg.", ".000_pipm")
"""What begins the names of a killed write beside a file; the next run removes it."""
_HINTLESS = frozenset({0, 3})
_PIPS_OWN = frozenset({1, 2})
"""The exit code of a pip, or its interpreter, that ends with a traceback of its own."""
_LOGGING = "--- Logging error ---"
"""What pip prints, with a traceback, if its own output cannot be written."""
_OURS = ("/dedupe/pipm/", "/.pipm/", "_pipm_")
"""What names code of pipm in a traceback."""


class Bench:
    """The prepared state of one case on one kind of file system, and what the command makes of it.

    *images* lies on a file system with reflinks.
    """

    def __init__(self, case: Case, kind: str, *, images: Disk, point: str, forks: Forks) -> None:
        self.case, self.kind, self.point = case, kind, point
        self._forks, self.known = forks, frozenset[Shape]()
        self._image = images / f"{case.name}-{kind}.img"
        self._state = images / "state.img"
        make_image(kind, self._image, "512M")
        with mounted(kind, self._image, point):
            self._device = os.stat(point).st_dev
            os.makedirs(os.path.join(point, "tmp"))
            case.prepare(point)
        with self._restored():
            self.sites = self._traced()
        with self._restored():
            self._before = self._taken()
            self._command().expect()
            self._sound = self.case.works(point)
        self._ends = [self._end(), self._end()]
        refused = ("--link-mode", case.refused)
        self._refused = [self._end(*refused), self._end(*refused)] if case.refused else []
        self._after, self._again = self._ends

    def close(self) -> None:
        """Remove the image."""
        os.unlink(self._image)

    def points(self, *, whole: bool = False) -> list[Point]:
        """Return the points that differ (`chosen`), or every one."""
        pairs = every(self.sites) if whole else chosen(self.sites, self.known)
        return [
            Point(command=self.case.name, kind=self.kind, call=call, number=number, fault=fault)
            for (call, number), fault in pairs
        ]

    def check(self, point: Point) -> list[str]:
        """Run the command with the fault of *point*; return the faults after it, and after a second run."""
        fault = Fault(self._numbers[point.call], point.number, point.fault)
        with self._restored():
            done = self._command(fault=fault)
            hinted = not self.case.foreign and point.call != "write"  # that of the hint may have failed
            faults = (
                [] if point.fault == KILL else _said(done, hinted=hinted, foreign=bool(self.case.foreign))
            )
            if self._refused:
                self._expect_link_modes()
            faults += [f"then: {fault}" for fault in self._changed(done.code)]
            again = self._command()
            if again.code and not self.case.foreign:
                faults.append(f"again: exit code {again.code}: {again.out[-300:]}{again.err[-500:]}")
            faults += [f"after it ran again: {fault}" for fault in self._unfinished(point)]
            if self.case.sweeper and self._left_over():
                self._run(*(word.format(point=self.point) for word in self.case.sweeper))
            faults += self._left_over()
            verified = self._run("verify", "--full")
            if verified.code:
                faults.append(f"verify --full: {verified.code}: {verified.out[-400:]}{verified.err[-400:]}")
        return faults

    def _restored(self) -> _Restored:
        return _Restored(self)

    def _run(self, *arguments: str) -> Result:
        return self._forks.run(arguments, self.case.environment(self.point), self.point)

    def _end(self, *words: str) -> States:
        """Return what the undisturbed command leaves."""
        with self._restored():
            self._command(words=words).expect()
            return self._taken()

    def _expect_link_modes(self) -> None:
        """Expect the finder of each environment that fell back to it, the usual link mode of the others."""
        trees = [tree for tree in self.case.trees if _has_finder(os.path.join(self.point, tree))]
        self._after, self._again = (
            {
                name: row
                for there, rows in ((False, usual), (True, refused))
                for name, row in rows.items()
                if (name.partition("/")[0] in trees) is there
            }
            for usual, refused in zip(self._ends, self._refused, strict=True)
        )

    def _command(self, *strace: str, words: tuple[str, ...] = (), fault: Fault | None = None) -> Result:
        return self._forks.run(
            (*self.case.arguments(self.point), *words),
            self.case.environment(self.point),
            self.point,
            strace=strace,
            fault=fault,
        )

    def _traced(self) -> Sites:
        log = f"{self.point}.trace"
        self._command("-n", "-y", "-s", "64", "-o", log, "-e", f"trace={CHANGES}").expect()
        found = sites(log, self.point)
        self._numbers = numbers(log)
        os.unlink(log)
        return found

    def _taken(self) -> States:
        """Return the state of what the case protects."""
        foreign = self.case.foreign
        return {
            os.path.relpath(path, self.point): dataclasses.replace(state(path), flags=())
            for tree in self.case.trees
            for path in _paths(os.path.join(self.point, tree))
            if not (foreign and (foreign in path or path.endswith(("/site-packages", ".pyc"))))
        }

    def _changed(self, code: int) -> list[str]:
        """Return the files that are neither as before nor as after the command, and what no longer works."""
        now, faults = self._taken(), []
        for name in sorted(self._before.keys() | now.keys()):
            known = self._known(name)
            absent = any(name not in taken for taken in (self._before, self._after))
            if name not in now:
                uncompiled = self.case.replaced and name.endswith(".pyc")  # the next sync makes it
                faults += [] if absent or uncompiled or self.case.may_vanish(name) else [f"{name} is lost"]
            elif not known:
                faults += [] if self.case.may_appear(name) else [f"{name} is new"]
            elif self.case.stages and self._has_bytes(name, known):
                continue
            elif self.case.may_appear(name) and name not in self._before:
                continue  # half written, perhaps; only a RECORD says that all is there
            elif not any(self._alike(name, one, now[name]) for one in known):
                faults.append(f"{name}: {self._shown(known[0], now[name])}")
        faults += [f"{name} is neither as before nor as after" for name in self._halves(now)]
        if self.case.lives and not self.case.works(self.point):
            faults.append(f"it does not work any more (exit code {code})")
        return faults[:6]

    def _halves(self, now: States) -> list[str]:
        """Return the folders in site-packages of replaced distributions that are incomplete."""
        begin = f"/site-packages/{self.case.replaced}"
        names = {name for name in now if self.case.replaced and begin in name}
        folders = {name for name in names if "/" not in name.partition("/site-packages/")[2]}

        def files(taken: States, folder: str) -> set[tuple[str, str, str]]:
            return {
                (name, row.digest, row.target)
                for name, row in taken.items()
                if name.startswith(f"{folder}/")
                and row.kind != "directory"
                and not name.endswith((".pyc", "/RECORD"))  # which lists what is compiled
            }

        return [
            folder
            for folder in sorted(folders)
            if files(now, folder) not in [files(taken, folder) for taken in (self._before, self._after)]
        ]

    def _known(self, name: str) -> list[State]:
        return [taken[name] for taken in (self._before, self._after, self._again) if name in taken]

    def _has_bytes(self, name: str, known: list[State]) -> bool:
        """Whether *name* has the bytes of one of the states, itself or through a link.

        The finder's path file has a line for each thing that it serves, which are less where an error was.
        """
        path = os.path.join(self.point, name)
        if not os.path.isfile(path):
            return os.path.isdir(path)
        own = name.endswith(".pyc") or os.path.basename(name).startswith("000_pipm_")
        return own or file_digest(path) in {row.digest for row in known}

    def _shown(self, one: State, other: State) -> str:
        return "; ".join(state_differences(one, other, _VAGUE))

    def _alike(self, name: str, one: State, other: State) -> bool:
        """Whether two states are the same as far as two undisturbed runs agree in them."""
        after, again = self._after.get(name), self._again.get(name)
        ignored = {*_VAGUE}
        if one.kind == "directory":
            ignored.add("size")
        if name.endswith(".pyc") and "symlink" in {one.kind, other.kind}:  # it is the pool's, or leads there
            return os.path.isfile(os.path.join(self.point, name))
        if name.endswith(".pyc"):  # any environment's may be taken, and what marshal shares is chance
            ignored |= {"size", "digest", "mtime"}
        if self.case.falls:
            one, other = (dataclasses.replace(row, mode=row.mode & ~0o222) for row in (one, other))
        if name not in self._before or one.kind == "directory":
            ignored.add("mtime")
        if after is not None and again is not None:
            ignored |= {
                field
                for field in ("size", "digest", "mtime")
                if getattr(after, field) != getattr(again, field)
            }
        return all(
            getattr(one, field.name) == getattr(other, field.name)
            for field in dataclasses.fields(one)
            if field.name not in ignored
        )

    def _unfinished(self, point: Point) -> list[str]:
        """What the command that ran again did not bring into the state after it.

        Bytecode that an error kept from being shared, which adopt says, stays the environment's own, also if
        the finder serves its module.
        """
        now = self._taken()
        own = {name for name in self._before if name.endswith(".pyc")}
        own = set() if point.fault == KILL or not self.case.stages else own & now.keys()
        own |= {folder for name in own for folder in _folders(name)}
        vanished = {name for name in self._after if name.endswith(".pyc") and self.case.may_vanish(name)}
        faults = [f"{name} is missing" for name in sorted(self._after.keys() - now.keys() - vanished)]
        faults += [f"{name} is left over" for name in sorted(now.keys() - self._after.keys() - own)]
        for name in sorted(self._after.keys() & now.keys()):
            one, other = self._after[name], now[name]
            if self.case.falls and other.links > 1 and self._has_bytes(name, [one, *self._known(name)]):
                continue
            if not self._alike(name, one, other) and not self._alike(
                name, self._before.get(name, one), other
            ):
                faults.append(f"{name}: {self._shown(one, other)}")
        if self.case.works(self.point) != self._sound:
            faults.append("it does not work")
        return faults[:6]

    def _left_over(self) -> list[str]:
        """Temporary names in store, environments and roots; torn writes in the cache go when they are old."""
        store = os.path.join(self.point, "store")
        found = [row.path for row in leftovers(store)]
        found += glob.glob(f"{store}/v1/roots/.*")
        found += glob.glob(f"{self.point}/*/.pipm-tmp") + [
            path
            for name in _TORN
            for folder in ("", "lib/*/site-packages/")
            for path in glob.glob(f"{self.point}/*/{folder}{name}*")
        ]
        found += glob.glob(f"{self.point}/*/.pipm/**/.?*", recursive=True)
        found += glob.glob(f"{self.point}/cache/pipm/venv-*")
        if not self.case.foreign:  # a killed pip leaves its own there
            found += glob.glob(f"{self.point}/tmp/*")
        return [f"left over: {os.path.relpath(path, self.point)}" for path in found]


class _Restored:
    """The prepared state, mounted for the time of a with block."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __enter__(self) -> None:
        bench = self._bench
        if os.path.exists(bench._state):
            os.unlink(bench._state)
        clone(bench._image, bench._state)
        self._mounted = mounted(bench.kind, bench._state, bench.point, options=_OPTIONS[bench.kind])
        self._mounted.__enter__()
        self._follow_device(os.stat(bench.point).st_dev)

    def __exit__(self, *_: object) -> None:
        self._mounted.__exit__(None, None, None)
        os.unlink(self._bench._state)

    def _follow_device(self, device: int) -> None:
        """Let the roots name the device that the file system has now; another mount took the old number."""
        if device == self._bench._device:
            return
        for path in glob.glob(f"{self._bench.point}/store/v1/roots/[0-9a-f]*"):
            with open(path, encoding="ascii") as file:
                root = json.load(file)
            with open(path, "w", encoding="ascii") as file:
                json.dump(root | {"device": device}, file, indent=1)


def _has_finder(environment: str) -> bool:
    return bool(glob.glob(f"{environment}/lib/*/site-packages/000_pipm.pth"))


def _folders(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _paths(tree: str) -> Iterator[str]:
    if not os.path.lexists(tree):
        return
    yield tree
    if os.path.isdir(tree) and not os.path.islink(tree):
        for name in sorted(os.listdir(tree)):
            if name not in {".pipm", ".pipm-tmp"} and not name.startswith(_TORN):
                yield from _paths(os.path.join(tree, name))


def _said(done: Result, *, hinted: bool, foreign: bool) -> list[str]:
    """Return what is wrong with a command's message about an error."""
    text = f"{done.out}{done.err}"
    ours = _TRACEBACK[0] not in text or any(word in text for word in _OURS)
    if foreign and (_LOGGING in text or (done.code in _PIPS_OWN and not ours)):
        return []
    faults = [f"{word}: {text[-900:]}" for word in _TRACEBACK if word in text]
    if done.code not in {0, 1, 3}:
        faults.append(f"exit code {done.code}: {text[-300:]}")
    elif hinted and done.code not in _HINTLESS and not faults and "hint: " not in text:
        faults.append(f"no hint: {text[-300:]}")
    return faults


@contextlib.contextmanager
def _closing(bench: Bench) -> Iterator[Bench]:
    try:
        yield bench
    finally:
        bench.close()
        shutil.rmtree(bench.point, ignore_errors=True)


def benches(names: list[str], kinds: list[str], *, images: Disk, folder: str) -> Iterator[Bench]:
    """Yield the bench of each case on each kind of file system, one after the other."""
    with Forks({"PYTHONPATH": SOURCES}) as forks:
        for name in names:
            known: frozenset[Shape] = frozenset()
            for kind in kinds:
                point = os.path.join(folder, f"at-{kind}")
                with _closing(Bench(CASES[name], kind, images=images, point=point, forks=forks)) as bench:
                    bench.known = known
                    yield bench
                known |= bench.sites.keys()


def assert_survives(name: str, kind: str, images: Disk, folder: str, *, points: int) -> None:
    """Check so many points of a command, always the same ones; all of its faults are among a dozen."""
    if shutil.which("strace", path=clean_environ()["PATH"]) is None or platform.machine() != "x86_64":
        pytest.skip("needs strace and an x86-64")
    for bench in benches([name], [kind], images=images, folder=folder):
        everything = bench.points()
        assert {KILL, "EIO"} <= {point.fault for point in everything}
        chosen = sample(everything, points, seed=1)
        assert {str(point): found for point in chosen if (found := bench.check(point))} == {}
