"""One fault at one system call: a command is killed there or the call fails, and what is left is checked.

A point is a value: command, file system, system call, its number, fault. An image of the prepared state is
copied by reflink for each point, so that each begins with the very same inodes.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.disks import Disk, make_image, mounted
from support.extents import clone
from support.faults_cases import CASES, Case
from support.process import clean_environ
from support.snapshot import file_digest
from support.states import state, state_differences
from support.store import leftovers

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from support.pipm import Result
    from support.states import State, States

KILL = "KILL"
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS", "EMFILE", "EINTR", "EMLINK", "EXDEV", "EPERM")
FAULTS = (KILL, *ERRORS)
_CHANGES = (
    "openat,openat2,write,pwrite64,copy_file_range,sendfile,link,linkat,rename,renameat,renameat2,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,fchown,fchownat,chown,lchown,"
    "utimensat,ftruncate,truncate,fallocate,fsync,fdatasync,syncfs,ioctl,setxattr,fsetxattr,lsetxattr,"
    "removexattr,fremovexattr,lremovexattr"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT")
_CHANGING_IOCTLS = ("FICLONE", "FIDEDUPERANGE", "BTRFS_IOC_CLONE", "FS_IOC_SETFLAGS", "FS_IOC_FSSETXATTR")
_OPTIONS = {"ext4": "", "xfs": "nouuid", "btrfs": ""}
_TRACEBACK = ("Traceback (most recent call last)", "Internal error")
_VAGUE = ("identity", "links", "ctime", "extents", "data")
"""Of a file's state, what may differ between two right results."""
_HINTLESS = frozenset({0, 3})


@dataclass(frozen=True, kw_only=True, order=True)
class Point:
    """The *number*-th call of *call* in each process of the *command* is hit by the *fault*."""

    command: str
    kind: str
    call: str
    number: int
    fault: str

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.command}:{self.kind}:{self.call}:{self.number}:{self.fault}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read the text of a point."""
        command, kind, call, number, fault = text.split(":")
        return cls(command=command, kind=kind, call=call, number=int(number), fault=fault)


class Bench:
    """The prepared state of one case on one kind of file system, and what the command makes of it.

    *images* lies on a file system with reflinks.
    """

    def __init__(self, case: Case, kind: str, *, images: Disk, point: str) -> None:
        self.case, self.kind, self.point = case, kind, point
        self._image = images / f"{case.name}-{kind}.img"
        self._state = images / "state.img"
        make_image(kind, self._image, "512M")
        with mounted(kind, self._image, point):
            self._device = os.stat(point).st_dev
            os.makedirs(os.path.join(point, "tmp"))
            case.prepare(point)
        with self._restored():
            self._calls = self._traced()
        with self._restored():
            self._before = self._taken()
            self._command().expect()
            self._after = self._taken()
            self._sound = self.case.works(point)
        with self._restored():
            self._command().expect()
            self._again = self._taken()

    def close(self) -> None:
        """Remove the image."""
        os.unlink(self._image)

    def points(self) -> list[Point]:
        """Return every point, in order."""
        return [
            Point(command=self.case.name, kind=self.kind, call=call, number=number, fault=fault)
            for call, number in self._calls
            for fault in FAULTS
        ]

    def check(self, point: Point) -> list[str]:
        """Run the command with the fault of *point*; return what is wrong then and after it ran again."""
        how = "signal=KILL" if point.fault == KILL else f"error={point.fault}"
        with self._restored():
            done = self._injected(f"inject={point.call}:{how}:when={point.number}", point.call)
            faults = [] if point.fault == KILL else _said(done, hinted=not self.case.foreign)
            faults += [f"then: {fault}" for fault in self._changed(done.returncode)]
            again = self._command()
            if again.code and not self.case.foreign:
                faults.append(f"again: exit code {again.code}: {again.out[-300:]}{again.err[-500:]}")
            faults += [f"after it ran again: {fault}" for fault in self._unfinished()]
            faults += self._left_over(killed=point.fault == KILL)
            verified = self._pipm("verify", "--full")
            if verified.code:
                faults.append(f"verify --full: {verified.code}: {verified.out[-400:]}{verified.err[-400:]}")
        return faults

    def _restored(self) -> _Restored:
        return _Restored(self)

    def _pipm(self, *arguments: str) -> Result:
        return self.case.pipm(self.point)(*arguments)

    def _command(self) -> Result:
        return self._pipm(*self.case.arguments(self.point))

    def _strace(self, *options: str) -> subprocess.CompletedProcess[str]:
        command, variables = self.case.pipm(self.point).command(*self.case.arguments(self.point))
        return subprocess.run(
            ["strace", "-f", "--seccomp-bpf", "-qqq", *options, *command],
            env=clean_environ(variables),
            cwd=self.point,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )

    def _injected(self, inject: str, call: str) -> subprocess.CompletedProcess[str]:
        return self._strace("-o", "/dev/null", "-e", f"trace={call}", "-e", inject)

    def _traced(self) -> list[tuple[str, int]]:
        """Return each changing call below the mount point with its number among those of its process."""
        log = f"{self.point}.trace"
        done = self._strace("-y", "-s", "64", "-o", log, "-e", f"trace={_CHANGES}")
        assert done.returncode == 0, done.stderr
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        found = set()
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                match = _LINE.match(line)
                if match is None:
                    continue
                process, call, rest = match.groups()
                counts[process, call] += 1
                if self.point in rest and _changes(call, rest):
                    found.add((call, counts[process, call]))
        os.unlink(log)
        return sorted(found)

    def _taken(self) -> States:
        """Return the state of what the case protects."""
        foreign = self.case.foreign
        return {
            os.path.relpath(path, self.point): dataclasses.replace(state(path), flags=())
            for tree in self.case.trees
            for path in _paths(os.path.join(self.point, tree))
            if not (foreign and (foreign in path or path.endswith("/site-packages")))
        }

    def _changed(self, code: int) -> list[str]:
        """What is neither as before nor as the finished command leaves it, and what works no more."""
        now, faults = self._taken(), []
        for name in sorted(self._before.keys() | now.keys()):
            known = [taken[name] for taken in (self._before, self._after, self._again) if name in taken]
            absent = any(name not in taken for taken in (self._before, self._after))
            if name not in now:
                faults += [] if absent else [f"{name} is lost"]
            elif not known:
                faults += [] if self.case.may_appear(name) else [f"{name} is new"]
            elif self.case.stages and self._has_bytes(name, known):
                continue
            elif not any(self._alike(name, one, now[name]) for one in known):
                faults.append(f"{name}: {self._shown(known[0], now[name])}")
        if self.case.lives and not self.case.works(self.point):
            faults.append(f"it does not work any more (exit code {code})")
        return faults[:6]

    def _has_bytes(self, name: str, known: list[State]) -> bool:
        """Whether *name* has the bytes of one of the states, itself or through a link."""
        path = os.path.join(self.point, name)
        if not os.path.isfile(path):
            return os.path.isdir(path)
        return name.endswith(".pyc") or file_digest(path) in {row.digest for row in known}

    def _shown(self, one: State, other: State) -> str:
        return "; ".join(state_differences(one, other, _VAGUE))

    def _alike(self, name: str, one: State, other: State) -> bool:
        """Whether two states are the same as far as two undisturbed runs agree in them."""
        after, again = self._after.get(name), self._again.get(name)
        ignored = {*_VAGUE}
        if one.kind == "directory":
            ignored.add("size")
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

    def _unfinished(self) -> list[str]:
        """What the command that ran again did not bring into the state after it."""
        now = self._taken()
        faults = [f"{name} is missing" for name in sorted(self._after.keys() - now.keys())]
        faults += [f"{name} is left over" for name in sorted(now.keys() - self._after.keys())]
        for name in sorted(self._after.keys() & now.keys()):
            one, other = self._after[name], now[name]
            if not self._alike(name, one, other) and not self._alike(
                name, self._before.get(name, one), other
            ):
                faults.append(f"{name}: {self._shown(one, other)}")
        if self.case.works(self.point) != self._sound:
            faults.append("it does not work")
        return faults[:6]

    def _left_over(self, *, killed: bool) -> list[str]:
        """Temporary names in store, environments, roots and cache."""
        store = os.path.join(self.point, "store")
        found = [row.path for row in leftovers(store)]
        found += glob.glob(f"{store}/v1/roots/.*")
        found += glob.glob(f"{self.point}/*/.pipm-tmp") + glob.glob(f"{self.point}/*/.pyvenv.cfg.*")
        found += glob.glob(f"{self.point}/*/.pipm/**/.?*", recursive=True)
        found += glob.glob(f"{self.point}/cache/pipm/.*") + glob.glob(f"{self.point}/cache/pipm/venv-*")
        if not killed:  # a tool that is killed cannot remove what it made in the system's folder
            found += [path for path in glob.glob(f"{self.point}/tmp/*") if "/tmp/pip-" not in path]
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


def _paths(tree: str) -> Iterator[str]:
    if not os.path.lexists(tree):
        return
    yield tree
    if os.path.isdir(tree) and not os.path.islink(tree):
        for name in sorted(os.listdir(tree)):
            if name not in {".pipm", ".pipm-tmp"} and not name.startswith(".pyvenv.cfg."):
                yield from _paths(os.path.join(tree, name))


def _changes(call: str, rest: str) -> bool:
    if call in {"openat", "openat2"}:
        return any(flag in rest for flag in _WRITING)
    if call == "ioctl":
        return any(name in rest for name in _CHANGING_IOCTLS)
    return True


def _said(done: subprocess.CompletedProcess[str], *, hinted: bool) -> list[str]:
    """What is wrong with how a command told of an error."""
    text = f"{done.stdout}{done.stderr}"
    faults = [f"{word}: {text[-900:]}" for word in _TRACEBACK if word in text]
    if done.returncode not in {0, 1, 3}:
        faults.append(f"exit code {done.returncode}: {text[-300:]}")
    elif hinted and done.returncode not in _HINTLESS and not faults and "hint: " not in text:
        faults.append(f"no hint: {text[-300:]}")
    return faults


def sample(points: list[Point], count: int, chance: random.Random) -> list[Point]:
    """Return *count* of the points (all: 0), each call and fault about as often as any other."""
    if not count or count >= len(points):
        return points
    groups: defaultdict[tuple[str, bool], list[Point]] = defaultdict(list)
    for point in points:
        groups[point.call, point.fault == KILL].append(point)
    chosen: list[Point] = []
    while len(chosen) < count:
        for key in sorted(groups):
            if groups[key] and len(chosen) < count:
                chosen.append(groups[key].pop(chance.randrange(len(groups[key]))))
    return sorted(chosen)


def benches(names: list[str], kinds: list[str], *, images: Disk, folder: str) -> Iterator[Bench]:
    """Yield the bench of each case on each kind of file system, one after the other."""
    for name in names:
        for kind in kinds:
            point = os.path.join(folder, f"at-{kind}")
            bench = Bench(CASES[name], kind, images=images, point=point)
            try:
                yield bench
            finally:
                bench.close()
                shutil.rmtree(point, ignore_errors=True)
