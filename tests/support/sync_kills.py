"""Kill `pipm sync` at random moments: the environment is as before, or the next sync repairs it."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from support.kills import Ground, torn_store
from support.locks import pylock
from support.process import run
from support.snapshot import Snapshot, difference, is_bytecode, snapshot, sources
from support.store import damage
from support.synthetic import Environment, make_wheel, package

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

    from support.disks import Disk

_LOCKS = {"old": ("alpha==1.0", "beta==1.0", "gone==1.0"), "new": ("alpha==2.0", "beta==1.0", "come==1.0")}
MODES = {
    "links": (),
    "copies": ("--link-mode", "copy"),
    "finder": ("--link-mode", "finder"),
    "hidden": ("--link-mode", "finder", "--no-dist-info"),
}
_WHOLE = """\
import alpha.module_1, alpha.sub.module_0, beta.module_1
from importlib.metadata import version
assert version("alpha") in {"1.0", "2.0"}
"""
_PROGRAM = "[console_scripts]\n{0} = {0}:NAME.strip\n"


class SyncGround(Ground):
    """An environment that goes from one lock to another, by links or by the finder."""

    def __init__(self, disk: Disk, *, modules: int = 60) -> None:
        super().__init__(disk)
        self._environment = Environment(path=os.path.join(self.work, "env"))
        specs = sorted({spec for specs in _LOCKS.values() for spec in specs})
        wheels = {spec: _wheel(disk / "wheels", spec, modules) for spec in specs}
        self._locks = {
            name: pylock(disk / name, (wheels[spec] for spec in specs)) for name, specs in _LOCKS.items()
        }
        self._start_anew()
        self._mode, self._there, self._target, self._next = "", False, "new", "new"
        self._right: dict[tuple[str, str], Snapshot] = {}
        for self._mode in MODES:
            for name in _LOCKS:
                self._sync(name)
                self._right[self._mode, name] = self._now()
            self._start_anew()

    def arguments(self) -> tuple[str, ...]:
        return self._command(self._target)

    def prepare(self, chance: random.Random) -> Hashable:
        """Prepare an environment for links or the finder: new, or with the old lock; wheels known or not."""
        known, there = chance.random() < 0.7, chance.random() < 0.7
        self.prepare_state(chance.choice(list(MODES)), known=known, there=there)
        return self._mode, known, there

    def prepare_state(
        self, mode: str, target: str = "new", *, known: bool = True, there: bool = True, then: str = ""
    ) -> None:
        """Prepare such a state, for a sync to the *target* lock; the old one has a program to mend.

        The sync after a kill is for the lock *then*, or for the same one.
        """
        self._mode, self._target, self._there, self._next = mode, target, there, then or target
        self._start_anew()
        if not known:
            shutil.rmtree(self.pipm.store)
        if there:
            self._sync("old")
        if there and target == "old":
            os.unlink(os.path.join(self._environment.path, "bin", "alpha"))

    def torn(self) -> list[str]:
        """A root that says `synced` must be true; the store is sound in any case."""
        if not os.path.isdir(os.path.join(self.pipm.store, "v1", "objects")):
            return []
        faults = torn_store(self.pipm.store)
        if self._there:  # both locks have alpha and beta
            done = run(self._environment.python, "-B", "-c", _WHOLE, cwd=self.work)
            faults += [f"it does not work: {done.stderr}"] if done.returncode else []
            faults += self._mixed()
        if self._there and self._state() == "synced":
            old, new = (self._unlike(name) + self._said_wrong(name) for name in _LOCKS)
            if self._mode == "hidden":  # its folders come back before anything else: they say the same
                old = self._said_wrong("old")
            faults += old if len(old) < len(new) else new
        return faults

    def unfinished(self) -> list[str]:
        again = self.pipm(*self._command(self._next))
        faults = [] if again.code == 0 else [f"sync again: {again.code} {again.err}"]
        faults += damage(self.pipm.store)
        return faults + self._unlike(self._next) + self._said_wrong(self._next)

    def undone(self) -> list[str]:
        return self._unlike(self._target) + self._said_wrong(self._target)

    def _mixed(self) -> list[str]:
        """Which modules of alpha are neither all the old ones nor all the new ones."""
        taken = [self._right[self._mode, "old"], self._right[self._mode, "new"], self._now()]
        *right, now = [
            {path: entry for path, entry in sources(one).items() if "/alpha/" in path} for one in taken
        ]
        return min((difference(one, now) for one in right), key=len)

    def _unlike(self, name: str) -> list[str]:
        """Return the files that are not those of a lock."""
        right, now = self._right[self._mode, name], self._now()
        faults = difference(sources(right), sources(now))  # which references marshal shares is chance
        bytecode = [path for path in sorted(right.keys() ^ now.keys()) if is_bytecode(path)]
        return faults + [f"{path}: there or not" for path in bytecode]

    def _said_wrong(self, name: str) -> list[str]:
        """What the environment's interpreter says, where that is not what a lock says."""
        modules = [spec.split("==")[0] for spec in _LOCKS[name]]
        code = (
            f"import alpha.module_1, alpha.sub.module_0, {', '.join(modules)}\n"
            "from importlib.metadata import distributions\n"
            "print(alpha.SEED, *sorted(f'{d.name}=={d.version}' for d in distributions()))\n"
        )
        done = run(self._environment.python, "-c", code, cwd=self.work)
        right = " ".join((_LOCKS[name][0][-3], *_LOCKS[name]))
        return [] if done.stdout == f"{right}\n" else [f"it says {done.stdout}{done.stderr}"]

    def _sync(self, name: str) -> None:
        self.pipm(*self._command(name)).expect()

    def _command(self, name: str) -> tuple[str, ...]:
        return ("sync", self._locks[name], "--env", self._environment.path, *MODES[self._mode])

    def _start_anew(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)

    def _state(self) -> str:
        """What the store says of the environment."""
        folder = os.path.join(self.pipm.store, "v1", "roots")
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if not name.startswith("."):
                with open(os.path.join(folder, name), "rb") as file:
                    return str(json.load(file)["state"])
        return ""

    def _now(self) -> Snapshot:
        """Return the environment without the parts that differ in each run: the finder's table has times."""
        if not os.path.isdir(self._environment.path):
            return {}
        taken = snapshot(self._environment.path)
        return {path: entry for path, entry in taken.items() if not path.startswith((".pipm/", ".pipm-tmp"))}


def _wheel(folder: str, spec: str, modules: int) -> str:
    name, version = spec.split("==")
    info = {f"{name}-{version}.dist-info/entry_points.txt": _PROGRAM.format(name).encode()}
    seed = int(version[0])
    files = package(name, modules=modules if name == "alpha" else 6, seed=seed) | info
    return make_wheel(folder, spec, files)
