"""Kill pipm at random moments, check the result, and let the next run finish."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.pipm import Pipm
from support.process import check, clean_environ
from support.snapshot import Snapshot, difference, snapshot, sources, walk
from support.store import damage, entry_names, object_names, root_count, still_shared, unshared
from support.synthetic import Environment, import_all, install, make_environment, package

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    from support.disks import Disk

TEMPORARY = ".pipm-tmp"
CHANGES = ("rename", "replace", "unlink", "rmdir", "link", "symlink", "mkdir", "utime")
"""The calls of `os` that change names or what is said of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """One kill: when it came, whether pipm still ran, how it ended, what was wrong then.

    `amid`: it had begun to change the disk.
    """

    moment: float
    hit: bool
    amid: bool
    code: int
    faults: list[str]


@dataclass(slots=True)
class Span:
    """The seconds of a run from which a moment is drawn; each run corrects where they begin and end.

    How long a run takes depends on what else the machine does, and on a cold disk the first one takes
    thrice as long as those after it: a range that was measured once would miss most of them.
    """

    least: float
    begin: float = 0.0
    end: float = 0.0

    def draw(self, chance: random.Random) -> float:
        """A moment within the run."""
        return chance.uniform(min(self.begin, self.end), self.end)

    def learn(self, took: float, *, hit: bool, amid: bool) -> None:
        """Learn from a run of *took* seconds; *hit* and *amid* are those of its kill."""
        if not hit or took > self.end:
            self.end = took
        else:
            self.end *= 1.01  # it may take longer than we think
        if hit and not amid:  # so early a kill shows little
            self.begin += (took - self.begin) / 4
        else:
            self.begin -= (self.begin - self.least) / 8


def without_temporaries(taken: Snapshot) -> Snapshot:
    """Return a snapshot without the folder that a killed run may leave."""
    return {path: entry for path, entry in taken.items() if not path.startswith(TEMPORARY)}


def torn_store(store: str) -> list[str]:
    """What is wrong in a store besides what a killed run left in its tmp folder for the next to sweep."""
    return [line for line in damage(store) if not line.startswith("tmp: ")]


def end_of_group(leader: int, seconds: float = 20) -> bool:
    """Wait until a process group has no process; return whether this happened."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do *work* in a child that is killed, with its own, before its change of this number; whether it was."""
    child = os.fork()
    if not child:
        os.setsid()
        left = number

        def counted(change: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if not left:
                    os.killpg(0, signal.SIGKILL)
                return change(*arguments, **options)

            return call

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _pipm(arguments: list[str], variables: dict[str, str]) -> None:
    """The command in this process, which ends with it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.environ.clear()
    os.environ.update(clean_environ(variables))
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.argv = ["pipm", *arguments]
    from pipm.__main__ import main  # noqa: PLC0415 - what it imports sees the counted changes

    main()


class Ground:
    """A folder on a disk where a command of pipm is killed again and again."""

    def __init__(self, disk: Disk) -> None:
        self.pipm = Pipm(store=disk / "store", environ={"XDG_CACHE_HOME": disk / "cache"})
        self.work = disk / "work"
        start = time.monotonic()
        self.pipm("--version").expect()
        self._least = (time.monotonic() - start) * 0.7
        self._spans: dict[Hashable, Span] = {}

    def prepare(self, chance: random.Random) -> Hashable:
        """Put everything as it was before the command; returns which of several such states this is."""
        raise NotImplementedError

    def arguments(self) -> tuple[str, ...]:
        """The command that is killed."""
        raise NotImplementedError

    def torn(self) -> list[str]:
        """What the kill damaged."""
        raise NotImplementedError

    def unfinished(self) -> list[str]:
        """What the same command leaves undone afterwards."""
        raise NotImplementedError

    def undone(self) -> list[str]:
        """What is not as the command, which returned, said that it is."""
        raise NotImplementedError

    def kill(self, chance: random.Random, how: signal.Signals = signal.SIGKILL) -> Kill:
        """Prepare, run the command, kill it at a random moment, check, run it again, check."""
        state = self.prepare(chance)
        span = self._spans.get(state)
        if span is None:
            span = self._spans[state] = Span(self._least)
            start = time.monotonic()
            self.pipm(*self.arguments()).expect()
            span.learn(time.monotonic() - start, hit=False, amid=False)
            self.prepare(chance)
        before = self._names()
        moment = span.draw(chance)
        start = time.monotonic()
        process = self.pipm.start(*self.arguments())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        took = time.monotonic() - start
        hit = process.poll() is None
        if hit and chance.random() < 0.5:
            os.killpg(process.pid, how)
        elif hit:
            process.send_signal(how)  # its children must find out by themselves
        process.communicate(timeout=60)
        amid = hit and self._names() != before
        span.learn(took, hit=hit, amid=amid)
        faults = [] if end_of_group(process.pid) else ["a child still runs 20 s after the kill"]
        faults += self.torn() + self.unfinished()
        return Kill(moment=moment, hit=hit, amid=amid, code=process.returncode, faults=faults)

    def kill_at_change(self, number: int) -> tuple[bool, list[str]]:
        """Run the command, prepared before, in a process that kills its group before the change *number*.

        Returns whether it came to that, and the faults that this left.
        """
        command, variables = self.pipm.command(*self.arguments())
        hit = killed_at(number, lambda: _pipm(command[3:], variables))
        return hit, self.torn() + self.unfinished()

    def _names(self) -> set[tuple[str, int]]:
        """Names and inodes of all that the command may change."""
        trees = [tree for tree in (self.work, self.pipm.store) if os.path.isdir(tree)]
        return {(row.path, row.inode()) for tree in trees for row in walk(tree)}


class KillGround(Ground):
    """Adopt: two overlapping environments, put back as they were before each kill."""

    def __init__(self, disk: Disk, *, modules: int = 90) -> None:
        super().__init__(disk)
        self._pristine = disk / "pristine"
        self.environments = [Environment(path=os.path.join(self.work, name)) for name in ("first", "second")]
        for environment in self.environments:
            made = make_environment(environment.path)
            install(made, "alpha==1.0", package("alpha", modules=modules))
            install(made, f"{made.path[-5:]}==1.0", package(made.path[-5:]))
            made.compile()
        self.before = [snapshot(environment.path) for environment in self.environments]
        check("cp", "-a", "--reflink=never", self.work, self._pristine)

    def arguments(self) -> tuple[str, ...]:
        return ("adopt", *(environment.path for environment in self.environments))

    def prepare(self, chance: random.Random) -> Hashable:
        """Put the environments back, and forget the store unless it is to be met again."""
        shutil.rmtree(self.work)
        check("cp", "-a", "--reflink=never", self._pristine, self.work)
        known = chance.random() < 0.25
        if not known:
            shutil.rmtree(self.pipm.store, ignore_errors=True)
        return known

    def torn(self) -> list[str]:
        faults = []
        for environment, taken in zip(self.environments, self.before, strict=True):
            if os.path.isdir(environment.path):
                now = without_temporaries(snapshot(environment.path))
                faults += difference(sources(taken), sources(now))
                faults += [f"lost {path}" for path in sorted(taken.keys() - now.keys())]
                faults += not_importable(environment)
        return faults

    def unfinished(self) -> list[str]:
        return self._again() + self.undone() + damage(self.pipm.store)

    def undone(self) -> list[str]:
        faults = []
        for environment in self.environments:
            missing = unshared(environment.site, self.pipm.store)
            faults += [f"not shared {path}" for path in missing]
        objects = [f"{self.pipm.store}/v1/objects/{name}" for name in object_names(self.pipm.store)]
        kinds = [path for path in objects if not path.endswith("w")]
        return faults + [f"writable {path}" for path in kinds if os.stat(path).st_mode & 0o222]

    def _again(self) -> list[str]:
        """Run the command again; what of the environments is not as it was before."""
        again = self.pipm(*self.arguments())
        faults = [] if again.code == 0 else [f"{again.command} again: {again.code} {again.err}"]
        for environment, taken in zip(self.environments, self.before, strict=True):
            if os.path.isdir(environment.path):
                now = snapshot(environment.path)
                faults += difference(sources(taken), sources(now))
                faults += [f"left {path}" for path in sorted(now.keys() - taken.keys())]
        return faults


class ReleaseGround(KillGround):
    """Release of both of them."""

    def arguments(self) -> tuple[str, ...]:
        return ("release", *(environment.path for environment in self.environments))

    def prepare(self, chance: random.Random) -> Hashable:
        super().prepare(chance)
        self.pipm.adopt(*(environment.path for environment in self.environments))
        return None

    def torn(self) -> list[str]:
        return super().torn() + torn_store(self.pipm.store)

    def unfinished(self) -> list[str]:
        return self._again() + self.undone() + torn_store(self.pipm.store)

    def undone(self) -> list[str]:
        faults = []
        for environment in self.environments:
            faults += [f"still shared {path}" for path in still_shared(environment.path)]
        if roots := root_count(self.pipm.store):
            faults.append(f"{roots} roots are left")
        return faults


class GcGround(KillGround):
    """gc after one of two environments was deleted; the other one stays."""

    def arguments(self) -> tuple[str, ...]:
        return ("gc", "--keep", "0")

    def prepare(self, chance: random.Random) -> Hashable:
        super().prepare(chance)
        self.pipm.adopt(*(environment.path for environment in self.environments))
        shutil.rmtree(self.environments[0].path)
        return None

    def torn(self) -> list[str]:
        faults = super().torn() + torn_store(self.pipm.store)
        verified = self.pipm("verify", "--full")
        return faults if verified.code == 0 else [*faults, f"verify: {verified.out}{verified.err}"]

    def unfinished(self) -> list[str]:
        return self._again() + self.undone() + damage(self.pipm.store)

    def undone(self) -> list[str]:
        faults = []
        names = {name.split("/", maxsplit=1)[0] for name in entry_names(self.pipm.store)}
        if names != {"alpha", "econd"}:
            faults.append(f"the store has {sorted(names)}")
        if roots := root_count(self.pipm.store) - 1:
            faults.append(f"{roots} roots too many")
        trash = os.path.join(self.pipm.store, "v1", "trash")
        if os.path.isdir(trash) and os.listdir(trash):
            faults.append(f"trash: {os.listdir(trash)}")
        return faults


class RepairGround(KillGround):
    """A repair of an entry that lost a file and of an object that has another mode."""

    def arguments(self) -> tuple[str, ...]:
        return ("verify", "--full", "--repair")

    def prepare(self, chance: random.Random) -> Hashable:
        super().prepare(chance)
        self.pipm.adopt(*(environment.path for environment in self.environments))
        entry = os.path.join(self.pipm.store, "v1", "wheels", "alpha")
        for row in walk(entry):
            if row.name in {"module_1.py", "module_3.py"}:
                os.unlink(row.path)
        return None

    def torn(self) -> list[str]:
        return super().torn()  # what the store has lost comes back or not

    def unfinished(self) -> list[str]:
        return self._again() + self.undone() + damage(self.pipm.store)

    def undone(self) -> list[str]:
        verified = self.pipm("verify", "--full")
        return [] if verified.code == 0 else [f"verify: {verified.out}{verified.err}"]


def not_importable(environment: Environment) -> list[str]:
    """What can't be imported in an environment."""
    try:
        import_all(environment)
    except AssertionError as error:
        return [f"import: {error}"]
    return []
