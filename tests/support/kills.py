"""Kill adopt at random moments, then look at what it left and let it finish."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.pipm import Pipm
from support.process import check
from support.snapshot import Snapshot, difference, snapshot, sources
from support.store import damage, unshared
from support.synthetic import Environment, import_all, install, make_environment, package

if TYPE_CHECKING:
    from support.disks import Disk

TEMPORARY = ".pipm-tmp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """One kill: when it came, whether adopt still ran, how it ended, what was wrong then."""

    moment: float
    hit: bool
    code: int
    faults: list[str]


def without_temporaries(taken: Snapshot) -> Snapshot:
    """Return a snapshot without the folder that a killed adopt may leave."""
    return {path: entry for path, entry in taken.items() if not path.startswith(TEMPORARY)}


def end_of_group(leader: int, seconds: float = 20) -> bool:
    """Wait until no process of a group is left; tell whether that came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


class KillGround:
    """Two overlapping environments on a disk, put back as they were before each kill."""

    def __init__(self, disk: Disk, *, modules: int = 90) -> None:
        self.pipm = Pipm(store=disk / "store")
        self._work, self._pristine = disk / "work", disk / "pristine"
        self.environments = [Environment(path=os.path.join(self._work, name)) for name in ("first", "second")]
        for environment in self.environments:
            made = make_environment(environment.path)
            install(made, "alpha==1.0", package("alpha", modules=modules))
            install(made, f"{made.path[-5:]}==1.0", package(made.path[-5:]))
            made.compile()
        self.before = [snapshot(environment.path) for environment in self.environments]
        check("cp", "-a", "--reflink=never", self._work, self._pristine)
        self._longest = self._measure()

    @property
    def _arguments(self) -> tuple[str, ...]:
        return ("adopt", *(environment.path for environment in self.environments))

    def _measure(self) -> tuple[float, float]:
        start = time.monotonic()
        self.pipm("--version").expect()
        begun = time.monotonic()
        self.pipm(*self._arguments).expect()
        return begun - start, time.monotonic() - begun

    def restore(self, *, keep_store: bool) -> None:
        """Put the environments back, and forget the store unless it is to be met again."""
        shutil.rmtree(self._work)
        check("cp", "-a", "--reflink=never", self._pristine, self._work)
        if not keep_store:
            shutil.rmtree(self.pipm.store, ignore_errors=True)

    def kill(self, chance: random.Random, how: signal.Signals = signal.SIGKILL) -> Kill:
        """Restore, adopt, kill at a random moment, check, adopt again, check."""
        self.restore(keep_store=chance.random() < 0.25)
        moment = chance.uniform(self._longest[0] * 0.7, self._longest[1])
        process = self.pipm.start(*self._arguments)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        hit = process.poll() is None
        if hit and chance.random() < 0.5:
            os.killpg(process.pid, how)
        elif hit:
            process.send_signal(how)  # its children must find out by themselves
        process.communicate(timeout=60)
        faults = [] if end_of_group(process.pid) else ["a child still runs 20 s after the kill"]
        faults += self._torn() + self._unfinished()
        return Kill(moment=moment, hit=hit, code=process.returncode, faults=faults)

    def _torn(self) -> list[str]:
        """What the kill damaged."""
        faults = []
        for environment, taken in zip(self.environments, self.before, strict=True):
            now = without_temporaries(snapshot(environment.path))
            faults += difference(sources(taken), sources(now))
            faults += [f"lost {path}" for path in sorted(taken.keys() - now.keys())]
            try:
                import_all(environment)
            except AssertionError as error:
                faults.append(f"import: {error}")
        return faults

    def _unfinished(self) -> list[str]:
        """What a second adopt leaves undone."""
        again = self.pipm(*self._arguments)
        faults = [] if again.code == 0 else [f"adopt again: {again.code} {again.err}"]
        for environment, taken in zip(self.environments, self.before, strict=True):
            now = snapshot(environment.path)
            faults += difference(sources(taken), sources(now))
            faults += [f"left {path}" for path in sorted(now.keys() - taken.keys())]
            faults += [f"not shared {path}" for path in unshared(environment.site, self.pipm.store)]
        return faults + damage(self.pipm.store)


def campaign(disk: Disk, *, kills: int, seed: int) -> list[Kill]:
    """Kill adopt so often on one disk."""
    chance = random.Random(seed)
    ground = KillGround(disk)
    return [ground.kill(chance) for _ in range(kills)]
