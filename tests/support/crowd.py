"""Many pipm processes on a few environments, some killed or stopped, and the checks afterwards."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.kills import end_of_group
from support.locks import pylock
from support.model import files_of, put_pip
from support.pipm import DONE, FAILED, PARTLY, Pipm
from support.pips import start_pip
from support.process import NORMAL_USER, check, clean_environ
from support.snapshot import Snapshot, difference, is_bytecode, snapshot, sources, walk
from support.store import damage
from support.synthetic import Environment, Files, install, make_environment, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.disks import Disk

_LOCKS = {"old": ("alpha==1.0", "beta==1.0"), "new": ("alpha==2.0", "beta==1.0", "gamma==1.0")}
_SYNCED = {"links": "auto", "copies": "copy", "finder": "finder"}
_SPECS = sorted({spec for specs in _LOCKS.values() for spec in specs})
_TORN = re.compile(r"\..+\.[0-9a-f]{16}")
_LOOKS = (
    ("list",),
    ("report",),
    ("df", "--exact"),
    ("why", "alpha"),
    ("doctor",),
    ("verify",),
    ("verify", "--full"),
    ("verify", "--full", "--repair"),
    ("verify", "--rebuild"),
    ("gc", "--keep", "0"),
    ("gc",),
)
_CODES = frozenset({DONE, FAILED, PARTLY})
_EXPECTED = ("is in use by", "was replaced meanwhile", "run the same command again")
"""What a command may fail with because of the others."""

_STOPPING = """
import os, signal, sys
left = int(sys.argv.pop(1))
def counted(change):
    def call(*arguments, **options):
        global left
        left -= 1
        if not left:
            os.killpg(0, signal.SIGSTOP)
        return change(*arguments, **options)
    return call
for name in ("rename", "replace", "unlink", "link", "symlink", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
from pipm.__main__ import main
sys.exit(main())
"""
"""The command, which stops its group before a change to the disk of the number that comes first."""


def _files(spec: str) -> Files:
    return files_of(*spec.split("=="))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """One command that ended; ``killed``: by us."""

    words: str
    code: int
    err: str
    killed: bool

    @property
    def fault(self) -> str:
        """What is wrong with how it ended, or nothing."""
        if "Traceback" in self.err or "Internal error" in self.err:
            return f"{self.words}: {self.err[-3000:]}"
        if self.killed and self.code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return ""
        explained = self.code in (DONE, PARTLY) or any(text in self.err for text in _EXPECTED)
        return "" if self.code in _CODES and explained else f"{self.words}: {self.code} {self.err[-1500:]}"


@dataclass(slots=True)
class Crowd:
    """Five environments of one store with a layer, and one of another user with the same layer."""

    disk: Disk
    seed: int
    ended: list[Ended] = field(default_factory=list)
    _pipm: Pipm = field(init=False)
    _theirs: Pipm = field(init=False)
    _locks: dict[str, str] = field(init=False)
    _right: dict[tuple[str, str], Snapshot] = field(default_factory=dict)
    _pip: threading.Lock = field(default_factory=threading.Lock)
    _pip_killed: bool = False

    def __post_init__(self) -> None:
        wheels = {spec: make_wheel(self.disk / "wheels", spec, _files(spec)) for spec in _SPECS}
        self._locks = {
            name: pylock(self.disk / name, (wheels[spec] for spec in specs)) for name, specs in _LOCKS.items()
        }
        layer = self.disk / "layer"
        Pipm(store=layer)("store", "add", wheels["alpha==1.0"], wheels["beta==1.0"]).expect()
        check("chmod", "-R", "a+rX", layer, self.disk / "wheels", *(self.disk / name for name in _LOCKS))
        environ = {
            "PIPM_STORE_LAYERS": layer,
            "PIPM_LOCK_TIMEOUT": "120",
            "XDG_CACHE_HOME": self.disk / "cache",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.disk / "wheels",
        }
        self._pipm = Pipm(store=self.disk / "store", environ=environ, cwd=self.disk.path)
        os.makedirs(self.disk / "home")
        os.chown(self.disk / "home", NORMAL_USER, NORMAL_USER)
        home = {"XDG_CACHE_HOME": self.disk / "home/cache"}
        self._theirs = Pipm(
            store=self.disk / "home/store",
            user=NORMAL_USER,
            environ=environ | home,
            cwd=self.disk / "home",
        )
        self._make()

    def _make(self) -> None:
        """Make the environments, and note what each looks like by each lock."""
        for name in (*_SYNCED, "theirs"):
            for lock in _LOCKS:
                self._sync(name, lock)
                self._right[name, lock] = self._now(name)
        adopted = make_environment(self.disk / "adopted")
        for spec in _LOCKS["old"]:
            install(adopted, spec, _files(spec))
        adopted.compile()
        self._right["adopted", ""] = self._now("adopted")
        self._make_piped()
        for version in ("1.0", "2.0"):
            _, err = (process := self._start_pip(version)).communicate()
            assert process.returncode == 0, err
            self._right["piped", version] = self._now("piped")

    def _make_piped(self) -> None:
        shutil.rmtree(self.disk / "piped", ignore_errors=True)
        piped = make_environment(self.disk / "piped")
        put_pip(piped, self.disk.path)
        self._pipm("adopt", piped.path, "--wrap-pip").expect()
        self._pip_killed = False

    def _start_pip(self, version: str) -> subprocess.Popen[str]:
        words = ("install", "-q", "--no-deps", "--no-index", "--force-reinstall")
        environ = dict(self._pipm.environ) | {"PIPM_STORE": self._pipm.store}
        return start_pip(
            Environment(path=self.disk / "piped"),
            *(*words, "--find-links", self.disk / "wheels", f"alpha=={version}"),
            **environ,
        )

    def _owner(self, name: str) -> tuple[Pipm, str]:
        """Who works on an environment, and where it is."""
        return (self._theirs, self.disk / "home/env") if name == "theirs" else (self._pipm, self.disk / name)

    def _sync_words(self, name: str, lock: str) -> tuple[str, ...]:
        mode = _SYNCED.get(name, "auto")
        return ("sync", self._locks[lock], "--env", self._owner(name)[1], "--link-mode", mode)

    def _sync(self, name: str, lock: str) -> None:
        self._owner(name)[0](*self._sync_words(name, lock)).expect()

    def _now(self, name: str) -> Snapshot:
        """Return the environment without the parts that differ in each run: the finder's table has times."""
        taken = snapshot(self._owner(name)[1])
        return {path: entry for path, entry in taken.items() if not path.startswith(".pipm/")}

    def run(self, seconds: float, processes: int) -> None:
        """Let so many processes at a time do anything for so long; some are killed, some stop a while."""
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._work, args=(random.Random(f"{self.seed} {number}"), end))
            for number in range(processes)
        ]
        self.seed += 1
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, chance: random.Random, end: float) -> None:
        while time.monotonic() < end:
            words, start = self._choose(chance)
            if start is None:
                continue
            process = start()
            try:
                self.ended.append(self._watch(process, words, chance))
            finally:
                if words.startswith("pip"):
                    self._pip.release()

    def _choose(self, chance: random.Random) -> tuple[str, Callable[[], subprocess.Popen[str]] | None]:
        kinds = ("sync", "adopt", "release", "look", "run", "pip", "theirs")
        kind = chance.choices(kinds, (5, 3, 2, 6, 1, 2, 2))[0]
        pipm = self._pipm
        if kind == "pip":  # one at a time: pip itself has no lock
            version = chance.choice(("1.0", "2.0"))
            free = self._pip.acquire(blocking=False)
            return f"pip install alpha=={version}", functools.partial(
                self._start_pip, version
            ) if free else None
        if kind == "sync":
            command = self._sync_words(chance.choice(list(_SYNCED)), chance.choice(list(_LOCKS)))
        elif kind == "adopt":
            command = ("adopt", self.disk / chance.choice(("adopted", "adopted", "links", "piped")))
        elif kind == "release":
            command = ("release", self.disk / chance.choice(("adopted", "links")))
        elif kind == "run":
            command = ("run", "--no-lock", "--with", "beta==1.0", "python", "-c", "import beta")
        else:
            command = chance.choice(_LOOKS)
            if kind == "theirs":
                pipm = self._theirs
                command = chance.choice((command, self._sync_words("theirs", chance.choice(list(_LOCKS)))))
        return " ".join(command), functools.partial(pipm.start, *command)

    def _watch(self, process: subprocess.Popen[str], words: str, chance: random.Random) -> Ended:
        """Wait for the end of a command, whether it was killed or not."""
        fate, killed = chance.random(), False
        if fate < 0.3:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.05, 1.5))
            sign = signal.SIGKILL if fate < 0.2 else signal.SIGSTOP
            killed = sign is signal.SIGKILL and process.poll() is None
            self._pip_killed |= killed and words.startswith("pip")
            with contextlib.suppress(ProcessLookupError):
                if chance.random() < 0.5:
                    os.killpg(process.pid, sign)
                else:
                    process.send_signal(sign)
                if sign is signal.SIGSTOP:
                    time.sleep(chance.uniform(0.2, 1.0))
                    os.killpg(process.pid, signal.SIGCONT)
        _, err = process.communicate(timeout=300)
        if not end_of_group(process.pid):
            err += "Internal error: a child still runs 20 s after it"
        return Ended(words=words, code=process.returncode, err=err, killed=killed)

    def counts(self) -> Counter[str]:
        """How many commands of each kind came to their end, and how many were killed."""
        return Counter(f"{one.words.split()[0]}{' killed' if one.killed else ''}" for one in self.ended)

    def faults(self, chance: random.Random) -> list[str]:
        """What does not hold now that nobody works any more; everything is in order afterwards, or named."""
        found = [one.fault for one in self.ended if one.fault]
        for name in (*_SYNCED, "theirs", "adopted"):
            found += [f"{name} as it was left: {line}" for line in self._broken(name)]
        if self._pip_killed:  # of its own halves nobody but pip knows
            self._make_piped()
        self._settle(found, chance)
        self._age_torn_writes()
        for pipm in (self._pipm, self._theirs):
            for words in (("gc",), ("verify", "--full")):
                done = pipm(*words)
                found += [f"{' '.join(words)}: {done.code} {done.out} {done.err}"] if done.code else []
            found += [f"{pipm.store}: {line}" for line in damage(pipm.store)]
        found += damage(self.disk / "layer")
        found += [f"left: {path}" for path in self._torn_writes()]
        return found

    def _settle(self, found: list[str], chance: random.Random) -> None:
        """Run each environment's own command once more, and compare with what that gives alone."""
        for name in (*_SYNCED, "theirs"):
            lock = chance.choice(list(_LOCKS))
            done = self._owner(name)[0](*self._sync_words(name, lock))
            found += [f"sync of {name} afterwards: {done.code} {done.err}"] if done.code else []
            found += [f"{name}, {lock}: {line}" for line in self._unlike(name, lock)]
        done = self._pipm("adopt", self.disk / "adopted")
        found += [f"adopt afterwards: {done.code} {done.err}"] if done.code else []
        found += [f"adopted: {line}" for line in self._unlike("adopted", "")]
        version = chance.choice(("1.0", "2.0"))
        process = self._start_pip(version)
        _, err = process.communicate(timeout=300)
        found += [f"pip afterwards: {process.returncode} {err}"] if process.returncode or err else []
        found += [f"piped: {line}" for line in self._unlike("piped", version)]

    def _unlike(self, name: str, what: str) -> list[str]:
        right, now = self._right[name, what], self._now(name)
        names = [path for path in sorted(right.keys() ^ now.keys()) if is_bytecode(path)]
        return difference(sources(right), sources(now)) + [f"{path}: there or not" for path in names][:20]

    def _broken(self, name: str) -> list[str]:
        """What no longer works of what every lock has, whatever was killed."""
        owner, path = self._owner(name)
        code = "import beta; from importlib.metadata import version; assert version('beta') == '1.0'"
        done = subprocess.run(
            [f"{path}/bin/python", "-B", "-c", code],
            env=clean_environ(),
            cwd=path,
            user=owner.user,
            capture_output=True,
            text=True,
            check=False,
        )
        return [done.stderr] if done.returncode else []

    def left_at_the_end(self) -> list[str]:
        """What the stores still have when all environments are gone."""
        found = []
        for name in (*_SYNCED, "theirs", "adopted", "piped"):
            shutil.rmtree(self._owner(name)[1])
        for name in os.listdir(cached := self.disk / "cache/pipm/environments"):
            shutil.rmtree(os.path.join(cached, name))
        for pipm in (self._pipm, self._theirs):
            pipm("gc", "--keep", "0").expect()
            rows = (row.path for row in walk(f"{pipm.store}/v1") if not row.is_dir(follow_symlinks=False))
            found += [path for path in rows if not path.endswith("/v1/reserve")]
        return found

    def _torn_writes(self) -> list[str]:
        return [
            row.path for row in walk(self.disk.path) if _TORN.fullmatch(row.name) or row.name == ".pipm-tmp"
        ]

    def _age_torn_writes(self) -> None:
        """Let what killed writes left in shared folders be old: a younger one may be somebody's."""
        for path in self._torn_writes():
            os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)


def start_and_stop(pipm: Pipm, number: int, *words: str) -> subprocess.Popen[str]:
    """Start a command and return when it has stopped before its change of this number, or has ended."""
    command, variables = pipm.command(*words)
    process = subprocess.Popen(
        [command[0], "-c", _STOPPING, str(number), *command[3:]],
        env=clean_environ(variables),
        cwd=pipm.cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return process
