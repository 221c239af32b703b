"""Power cuts: the image of a live file system is copied while a command writes to it.

Each copy is what a disk would hold after a power cut at that moment. It is mounted at the
place of the original and every file that was durable before is looked at.
"""

from __future__ import annotations

import contextlib
import glob
import marshal
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.disks import Disk, make_image, mounted
from support.extents import clone, sync_file_system
from support.kills import without_temporaries
from support.pipm import Pipm
from support.process import clean_environ
from support.snapshot import difference, snapshot, sources
from support.store import damage, unshared
from support.synthetic import Environment, install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.kills import Ground

_FSYNCS = """
import os, sys, time
while True:
    with open(sys.argv[1], "w") as file:
        file.write(str(time.time()))
        file.flush()
        os.fsync(file.fileno())
    time.sleep(0.002)
"""
_OPTIONS = {"ext4": "", "xfs": "nouuid", "btrfs": ""}
_HEADER = 16  # of a pyc: magic, flags, mtime, size


@dataclass(kw_only=True)
class Outcome:
    """What a series of power cuts showed."""

    states: int = 0
    checked: int = 0
    faults: list[str] = field(default_factory=list)


@contextlib.contextmanager
def _unrelated_fsyncs(path: str) -> Iterator[None]:
    """Commit the journal again and again, as any other program may."""
    process = subprocess.Popen([sys.executable, "-I", "-c", _FSYNCS, path], env=clean_environ())
    try:
        yield
    finally:
        process.kill()
        process.wait()


class CrashStates:
    """A small file system whose states a power cut could leave behind while a command works on it.

    `images` must lie on a file system with reflinks.
    """

    def __init__(self, kind: str, *, images: Disk, point: str) -> None:
        self.kind, self.point = kind, point
        self._folder = images.path
        self._image = images / "live.img"

    def prepare(self) -> None:
        """Write the state before the command, on the mounted file system."""
        raise NotImplementedError

    def check(self, number: int, *, done: bool) -> list[str]:
        """Return the faults of the mounted state of this *number*; *done*: the command had returned."""
        raise NotImplementedError

    def run(self, work: Callable[[], subprocess.Popen[str]], *, most: int) -> Outcome:
        """Copy the image while the work runs, then check at most about so many of the copies."""
        make_image(self.kind, self._image, "512M")
        try:
            with mounted(self.kind, self._image, self.point):
                self.prepare()
                with _unrelated_fsyncs(os.path.join(self.point, "unrelated")):
                    process = work()
                    self._copy_while(process)
                    out, err = process.communicate()
                    assert process.returncode == 0, f"{out}\n{err}"
                    self._copy("done")
            return self._check_states(most)
        finally:
            for path in glob.glob(os.path.join(self._folder, "*.img")):
                os.unlink(path)

    def _copy(self, name: str) -> None:
        clone(self._image, os.path.join(self._folder, f"state-{name}.img"))

    def _copy_while(self, process: subprocess.Popen[str]) -> None:
        number = 0
        while process.poll() is None:
            self._copy(f"{number:04}")
            number += 1
            time.sleep(0.005)

    def _check_states(self, most: int) -> Outcome:
        states = sorted(glob.glob(os.path.join(self._folder, "state-*.img")))
        outcome = Outcome(states=len(states))
        step = -(-len(states) // most)
        for number, state in enumerate([*states[-2::-step], states[-1]]):
            with mounted(self.kind, state, self.point, options=_OPTIONS[self.kind]):
                faults = self.check(number, done="done" in state)
            outcome.checked += 1
            outcome.faults += [f"{os.path.basename(state)}: {fault}" for fault in faults]
        return outcome


class CommandCut(CrashStates):
    """Power cuts of any command that the kill tests know, in the state that *prepare_state* makes."""

    def __init__(
        self,
        kind: str,
        *,
        images: Disk,
        point: str,
        make: Callable[[Disk], Ground],
        prepare_state: Callable[[Ground], object],
    ) -> None:
        super().__init__(kind, images=images, point=point)
        self._make, self._prepare_state = make, prepare_state
        self._ground: Ground | None = None

    @property
    def context(self) -> Ground:
        """What the command works on."""
        assert self._ground is not None
        return self._ground

    def prepare(self) -> None:
        self._ground = self._make(Disk(kind=self.kind, path=self.point))
        self._prepare_state(self._ground)
        sync_file_system(self.point)

    def start(self) -> subprocess.Popen[str]:
        """Start the command that the cuts interrupt."""
        return self.context.pipm.start(*self.context.arguments())

    def check(self, number: int, *, done: bool) -> list[str]:  # noqa: ARG002 - all alike
        context = self.context
        for path in glob.glob(f"{self.point}/cache/pipm/environment-*"):
            os.unlink(path)  # of an earlier start of the machine, which nobody believes
        faults = context.undone() if done else []
        return faults + context.torn() + context.unfinished()


class PowerCut(CrashStates):
    """A durable environment and one that was just written, when the power is cut."""

    def __init__(self, kind: str, *, images: Disk, point: str, modules: int = 80) -> None:
        super().__init__(kind, images=images, point=point)
        self._modules = modules
        self.durable = Environment(path=os.path.join(point, "durable"))
        self.fresh = Environment(path=os.path.join(point, "fresh"))
        self.pipm = Pipm(store=os.path.join(point, "store"))

    def adopt(self) -> subprocess.Popen[str]:
        """Start the work that the cuts interrupt: the freshly written copy becomes the store's."""
        return self.pipm.start("adopt", self.fresh.path, self.durable.path)

    def run(self, work: Callable[[], subprocess.Popen[str]], *, most: int) -> Outcome:
        self._adopted = work == self.adopt
        return super().run(work, most=most)

    def prepare(self) -> None:
        self._write()
        self._before = snapshot(self.durable.path)

    def _write(self) -> None:
        for environment in (self.durable, self.fresh):
            made = make_environment(environment.path)
            install(made, "alpha==1.0", package("alpha", modules=self._modules))
            made.compile()
            if environment is self.durable:
                sync_file_system(self.point)

    def check(self, number: int, *, done: bool) -> list[str]:
        faults = self._faults(done=done)
        return faults + self._again() if self._adopted and number % 4 == 0 else faults

    def _faults(self, *, done: bool) -> list[str]:
        now = without_temporaries(snapshot(self.durable.path))
        faults = difference(sources(self._before), sources(now))
        faults += [f"lost {path}" for path in sorted(self._before.keys() - now.keys())]
        faults += [f"torn {path}" for path in now if self._torn(path)]
        if os.path.isdir(os.path.join(self.pipm.store, "v1", "objects")):
            kinds = ("content is not its name", "manifest is torn")
            faults += [row for row in damage(self.pipm.store) if any(k in row for k in kinds)]
        if done:  # the command had returned: its work must be there
            left = unshared(self.durable.site, self.pipm.store)
            faults += [f"not shared: {path}" for path in left]
        return faults

    def _again(self) -> list[str]:
        """What is wrong after the same command ran again upon what the power cut left."""
        result = self.pipm("adopt", self.durable.path)
        if result.code:
            return [f"adopt again: {result.code} {result.err.strip()}"]
        now = snapshot(self.durable.path)
        faults = difference(sources(self._before), sources(now))
        faults += [f"left {path}" for path in sorted(now.keys() - self._before.keys())]
        return faults + [f"not shared: {p}" for p in unshared(self.durable.site, self.pipm.store)]

    def _torn(self, path: str) -> bool:
        if not path.endswith(".pyc"):
            return False
        with open(os.path.join(self.durable.path, path), "rb") as file:
            content = file.read()
        try:
            marshal.loads(content[_HEADER:])
        except (EOFError, ValueError, TypeError):
            return True
        return False
