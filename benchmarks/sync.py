"""Measure `pipm sync` against uv, pip and a C floor: the same lock, in pairs on fresh file systems.

    python -m benchmarks.sync SCRATCH --uv UV [--group GROUP] [--rounds N] [--kind ext4 --kind xfs …]
    python -m benchmarks.sync SCRATCH --report [--plot FILE.svg]

Needs root, a C compiler, and the network once for each file system (the tools fill their caches). uv runs its
fastest documented way, `uv sync --frozen --offline` with a warm cache on the same file system; the group
`peers` tries its other ways, so that this stays true. pipm and uv read one uv.lock. Every round runs all
contenders of a group one after the other, in an order that turns. Each figure is the median of the rounds'
ratios: another process that runs meanwhile disturbs a round, not the comparison. Results stay in SCRATCH,
so groups may be measured one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import child_environment, end_on_signals, timed
from benchmarks.sync_report import plot, report
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.volume import Volume

    Runs = dict[str, list[tuple[float, float]]]

PINS = Path(__file__).parent / "requirements" / "sync.txt"
FLOOR = Path(__file__).parent / "floor.c"
SIZE = 24 << 30  # sparse; uv keeps a cache, and its environments their own bytecode
IMPORTS = "import pandas, sklearn, matplotlib.pyplot, django, boto3"
ADDED = "sympy"
"""One distribution of the lock, with 1 500 files, which the environments lack at first."""
MODES = {"ext4": ("hardlink", "hardlink"), "xfs": ("reflink", "clone"), "btrfs": ("reflink", "clone")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One file system, the lock (and the same without one distribution), and the programs."""

    volume: Volume
    lock: Path
    pylock: Path
    uv: str
    floor: Path

    @property
    def modes(self) -> tuple[str, str]:
        """The link mode as pipm and as uv name it."""
        return MODES[self.volume.kind]

    @property
    def smaller(self) -> Path:
        """The lock without `ADDED`."""
        return self.lock.parent.parent / "smaller" / "uv.lock"

    def path(self, name: str) -> str:
        """Where *name* lies."""
        return str(self.volume.path / name)

    def pipm(self, env: str, *options: str, lock: Path | None = None, store: str = "store") -> str:
        """The command of pipm for the environment *env*."""
        python = os.path.realpath(sys.executable)
        command = f"{sys.executable} -m pipm --store {self.path(store)} -q sync {lock or self.lock}"
        mode = "" if "--link-mode" in options else f"--link-mode {self.modes[0]}"
        return f"{command} --env {self.path(env)} --python {python} {mode} {' '.join(options)}"

    def uv_sync(
        self, env: str, *options: str, lock: Path | None = None, cache: str = "uv-cache", offline: bool = True
    ) -> str:
        """The command by which uv makes or changes the environment *env*: the fastest that it documents."""
        mode = "" if "--link-mode" in options else f"--link-mode {self.modes[1]}"
        project = (lock or self.lock).parent
        python = os.path.realpath(sys.executable)
        flags = f"{'--offline' if offline else ''} {mode} {' '.join(options)}"
        target = f"UV_PROJECT_ENVIRONMENT={self.path(env)} {self._uv(cache)}"
        return f"{target} sync -q --frozen --no-install-project --project {project} --python {python} {flags}"

    def uv_pip_sync(self, env: str, lock: Path, *options: str) -> str:
        """The command by which uv makes the environment *env* from a pylock.toml or a requirements file."""
        python, uv = os.path.realpath(sys.executable), self._uv("uv-cache")
        fill = f"{uv} pip sync -q --preview-features pylock --link-mode {self.modes[1]} {' '.join(options)}"
        return (
            f"{uv} venv -q --python {python} {self.path(env)}"
            f" && {fill} --python {self.path(env)}/bin/python {lock}"
        )

    def _uv(self, cache: str) -> str:
        return f"UV_CACHE_DIR={self.path(cache)} UV_NO_CONFIG=1 {self.uv}"

    def pip(self, env: str) -> str:
        """The command of pip, which has the wheels of all in a folder."""
        wheels, python = self.path("wheels"), os.path.realpath(sys.executable)
        make = f"{python} -m venv --without-pip {self.path(env)}"
        pip = f"{sys.executable} -m pip --python {self.path(env)}/bin/python install -q --no-index"
        return f"{make} && {pip} --disable-pip-version-check --no-deps --find-links {wheels} {wheels}/*.whl"

    def importing(self, env: str) -> str:
        """The first start of a program in the environment."""
        return f"{self.path(env)}/bin/python -c '{IMPORTS}'"


@dataclass(frozen=True, slots=True)
class Contender:
    """``before`` is run unmeasured; ``fresh`` is what is removed before that."""

    command: str
    fresh: tuple[str, ...] = ()
    before: str = "true"


def links(context: Ground) -> dict[str, Contender]:
    """The same files by links, by copies, with bytecode; and the least possible."""
    floor = f"{context.floor} {context.modes[0]} {context.path('floor')} < {context.path('listing')}"
    return {
        "uv": Contender(context.uv_sync("by-uv"), ("by-uv",)),
        "pipm, no bytecode": Contender(context.pipm("plain", "--no-compile"), ("plain",)),
        "pipm": Contender(context.pipm("whole"), ("whole",)),
        "floor": Contender(floor, ("floor",)),
        "pipm, nothing to do": Contender(context.pipm("whole")),
        "uv, nothing to do": Contender(context.uv_sync("by-uv")),
        "pipm adds one": Contender(context.pipm("whole"), before=context.pipm("whole", lock=context.smaller)),
        "uv adds one": Contender(
            context.uv_sync("by-uv"), before=context.uv_sync("by-uv", lock=context.smaller)
        ),
    }


def peers(context: Ground) -> dict[str, Contender]:
    """The ways by which uv makes the same environment; the fastest is the peer of all other groups."""
    ways = {
        "uv sync --frozen --offline": context.uv_sync("by-uv"),
        "uv sync --frozen": context.uv_sync("by-uv", offline=False),
        "uv pip sync pylock.toml --offline": context.uv_pip_sync("by-uv", context.pylock, "--offline"),
        "uv pip sync pylock.toml": context.uv_pip_sync("by-uv", context.pylock),
    }
    return {name: Contender(command, ("by-uv",)) for name, command in ways.items()}


def copies(context: Ground) -> dict[str, Contender]:
    """Where every file is copied."""
    copy = ("--link-mode", "copy")
    return {
        "uv copies": Contender(context.uv_sync("by-uv", *copy), ("by-uv",)),
        "pipm copies, no bytecode": Contender(context.pipm("plain", "--no-compile", *copy), ("plain",)),
    }


def imports(context: Ground) -> dict[str, Contender]:
    """From the lock to the end of a first import."""
    run = context.importing
    return {
        "uv, then import": Contender(f"{context.uv_sync('uv-run')} && {run('uv-run')}", ("uv-run",)),
        "pipm, then import": Contender(f"{context.pipm('run')} && {run('run')}", ("run",)),
    }


def compiled(context: Ground) -> dict[str, Contender]:
    """Where the peers make bytecode as well."""
    compile_all = context.uv_sync("uv-compiled", "--compile-bytecode")
    return {
        "uv with bytecode, then import": Contender(
            f"{compile_all} && {context.importing('uv-compiled')}", ("uv-compiled",)
        ),
        "uv with bytecode": Contender(compile_all, ("uv-compiled",)),
        "pipm again": Contender(context.pipm("run"), ("run",)),
        "pipm again, then import": Contender(
            f"{context.pipm('run')} && {context.importing('run')}", ("run",)
        ),
        "pip": Contender(context.pip("by-pip"), ("by-pip",)),
    }


def finder(context: Ground) -> dict[str, Contender]:
    """By the finder, against what any command of pipm takes, and against links."""
    served = ("--link-mode", "finder")
    return {
        "pipm --version": Contender(f"{sys.executable} -m pipm --version"),
        "finder": Contender(context.pipm("served", *served), ("served",)),
        "finder, no metadata folders": Contender(context.pipm("bare", *served, "--no-dist-info"), ("bare",)),
        "finder, nothing to do": Contender(context.pipm("served", *served)),
        "finder, then import": Contender(
            f"{context.pipm('served-run', *served)} && {context.importing('served-run')}", ("served-run",)
        ),
        "pipm by links": Contender(context.pipm("whole"), ("whole",)),
        "uv by links": Contender(context.uv_sync("by-uv"), ("by-uv",)),
        "uv by links, then import": Contender(
            f"{context.uv_sync('uv-run')} && {context.importing('uv-run')}", ("uv-run",)
        ),
    }


def cold(context: Ground) -> dict[str, Contender]:
    """Nothing but the lock is there: downloads included."""
    fresh = ("by-uv", "cold-cache")
    return {
        "uv, cold": Contender(context.uv_sync("by-uv", cache="cold-cache", offline=False), fresh),
        "uv with bytecode, cold": Contender(
            context.uv_sync("by-uv", "--compile-bytecode", cache="cold-cache", offline=False), fresh
        ),
        "pipm, no bytecode, cold": Contender(
            context.pipm("plain", "--no-compile", store="cold"), ("plain", "cold")
        ),
        "pipm, cold": Contender(context.pipm("plain", "--compile", store="cold"), ("plain", "cold")),
    }


GROUPS: dict[str, Callable[[Ground], dict[str, Contender]]] = {
    "links": links,
    "peers": peers,
    "copies": copies,
    "imports": imports,
    "compiled": compiled,
    "finder": finder,
    "cold": cold,
}

_LISTING = """
import os, sys, hashlib
env, store = sys.argv[1:]
site = next(os.path.join(p, 'site-packages') for p, d, f in os.walk(env + '/lib') if 'site-packages' in d)
for path, folders, names in os.walk(site):
    folders.sort()
    here = os.path.relpath(path, site)
    if here != '.':
        print('D ' + here)
for path, folders, names in os.walk(site):
    folders.sort()
    here = os.path.relpath(path, site)
    for name in sorted(names):
        content = open(os.path.join(path, name), 'rb').read()
        digest = hashlib.sha256(content).hexdigest()
        stored = f'{store}/v1/objects/{digest[:2]}/{digest[2:]}'
        for spelling in (stored, stored + '-x'):
            if os.path.exists(spelling):
                print('F ' + ('' if here == '.' else here) + chr(9) + name + chr(9) + spelling)
                break
"""


def write_listing(context: Ground) -> None:
    """Write what the floor does: the tree that pipm made without bytecode, out of the store."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTING, context.path("plain"), context.path("store")],
        check=True,
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    Path(context.path("listing")).write_bytes(done.stdout)


def prepare(context: Ground, group: str, log: Path) -> None:
    """Fill the caches and make what the group takes for granted.

    What was downloaded lies beside the results: the next file system gets copies.
    """
    seed = log.parent / "seed"
    filled = () if group == "cold" else ("store", "uv-cache")
    for name in filled:
        if (seed / name).exists() and not Path(context.path(name)).exists():
            run_measured(f"cp -a {seed / name} {context.path(name)}", log, "copying")
    steps = (
        []
        if group == "cold"
        else [context.pipm("run", "--compile"), context.uv_sync("uv-run", offline=False)]
    )
    if group == "links":
        steps.append(context.pipm("plain", "--no-compile"))
    if group == "finder":
        steps.append(context.pipm("served", "--link-mode", "finder"))
    if group == "compiled":
        pip = f"{sys.executable} -m pip wheel -q --no-deps --disable-pip-version-check"
        steps.append(f"{pip} -w {context.path('wheels')} -r {PINS}")
    for step in steps:
        run_measured(step, log, "preparing")
    for name in filled:
        if not (seed / name).exists():
            seed.mkdir(exist_ok=True)
            run_measured(f"cp -a {context.path(name)} {seed / name}", log, "copying")
    if group == "links":
        write_listing(context)


def run_measured(command: str, log: Path, name: str) -> tuple[float, float]:
    """Run *command*; seconds of wall and of processor time."""
    timing = timed(["sh", "-c", command], stdout=log, stderr=log)
    if timing.exit_code:
        raise RuntimeError(f"{name} failed: {command}; see {log}")
    return timing.wall, timing.cpu


def measure(context: Ground, group: str, rounds: int, results: Path) -> None:
    """Run all contenders of *group* *rounds* times; what whole rounds gave is kept in *results* at once."""
    log = results.with_suffix(".log")
    runs: Runs = {}
    contenders = GROUPS[group](context)
    names = list(contenders)
    for old in ("run", "uv-run"):  # of another group
        shutil.rmtree(context.path(old), ignore_errors=True)
    prepare(context, group, log)
    warm_up = 0 if group == "cold" else 1
    for number in range(-warm_up, rounds):
        # What builds on an environment stays behind what makes it.
        turn = number % 4 if group == "links" and number >= 0 else 0
        order = names[turn:4] + names[:turn] + names[4:] if group == "links" else names
        for name in order if number % 2 == 0 or group == "links" else reversed(order):
            one = contenders[name]
            for old in one.fresh:
                shutil.rmtree(context.path(old), ignore_errors=True)
            run_measured(one.before, log, name)
            context.volume.sync()
            figures = run_measured(one.command, log, name)
            if number >= 0:
                runs.setdefault(name, []).append(figures)
        results.write_text(json.dumps(runs))
        print(f"{context.volume.kind} {group}: round {number + 1} of {rounds}", flush=True)


def make_locks(scratch: Path, uv: str) -> tuple[Path, Path]:
    """Write uv.lock and pylock.toml, and a smaller uv.lock, unless they are there; the first two's paths."""
    pins = [line.split()[0] for line in PINS.read_text().splitlines() if line[:1].isalnum()]
    version = ".".join(map(str, sys.version_info[:2]))
    for name, some in (("whole", pins), ("smaller", [pin for pin in pins if not pin.startswith(ADDED)])):
        project = scratch / name
        if not (project / "uv.lock").exists():
            project.mkdir(exist_ok=True)
            lines = [
                "[project]",
                f'name = "benchmark-{name}"',
                'version = "0"',
                f'requires-python = "=={version}.*"',
                f"dependencies = {json.dumps(some)}",
                # What is pinned was resolved with all its requirements: nothing may be added to it.
                "[tool.uv]",
                "environments = [\"sys_platform == 'linux'\"]",
            ]
            (project / "pyproject.toml").write_text("\n".join([*lines, ""]))
            subprocess.run([uv, "lock", "-q", "--project", project, "--python", sys.executable], check=True)
    pylock = scratch / "pylock.toml"
    if not pylock.exists():
        export = [uv, "export", "-q", "--frozen", "--no-emit-project", "--format", "pylock.toml"]
        subprocess.run([*export, "--project", scratch / "whole", "-o", pylock], check=True)
    return scratch / "whole" / "uv.lock", pylock


def main() -> None:
    """Measure on each kind of file system, and print a table of all that was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("scratch", type=Path, metavar="SCRATCH", help="a folder for images and results")
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kind", action="append", choices=list(MODES))
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--plot", metavar="FILE.svg", type=Path)
    arguments = parser.parse_args()
    end_on_signals()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    if not arguments.report:
        floor = scratch / "floor"
        subprocess.run(["cc", "-O2", "-o", str(floor), str(FLOOR)], check=True)
        uv = shutil.which(arguments.uv) or arguments.uv
        lock, pylock = make_locks(scratch, uv)
        for kind in arguments.kind or MODES:
            with fresh_volume(kind, scratch, SIZE) as volume:
                context = Ground(volume=volume, lock=lock, pylock=pylock, uv=uv, floor=floor)
                for group in arguments.group or ("links", "copies", "imports"):
                    measure(context, group, arguments.rounds, scratch / f"{kind}-{group}.json")
    found: dict[str, Runs] = {kind: {} for kind in MODES}
    for kind in MODES:
        for group in GROUPS:
            results = scratch / f"{kind}-{group}.json"
            if results.exists():
                found[kind] |= json.loads(results.read_text())
    rows = report(found)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
