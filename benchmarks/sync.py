"""`pipm sync` against uv, pip and a C floor: the same lock, in pairs on fresh file systems.

uv runs its fastest documented way, `uv sync --frozen --offline` with a warm cache on the same file system;
the group `peers` tries its other ways, so that this stays true. pipm and uv read one uv.lock. Every round
runs all contenders of a group one after the other, in an order that turns.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import REPOSITORY
from benchmarks.record import Record
from benchmarks.tables import TIMES, Part, Table
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.setting import Setting
    from benchmarks.volume import Volume

PINS = Path(__file__).parent / "requirements" / "sync.txt"
FLOOR = Path(__file__).parent / "floor.c"
SIZE = 40 << 30  # sparse; uv keeps a cache, its environments their own bytecode, and nothing is deleted
IMPORTS = "import pandas, sklearn, matplotlib.pyplot, django, boto3"
QUICK_IMPORTS = "import pandas, django, boto3"
_QUICK = (
    "asgiref boto3 botocore django jmespath mpmath numpy pandas python-dateutil pytz s3transfer six sqlparse"
    " sympy typing-extensions tzdata urllib3"
)
QUICK = frozenset(_QUICK.split())
"""The distributions of a quick run."""
ADDED = "sympy"
"""One distribution of the lock, with 1 500 files, which the environments lack at first."""
MODES = {"ext4": ("hardlink", "hardlink"), "xfs": ("reflink", "clone"), "btrfs": ("reflink", "clone")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One file system, the lock (and the same without one distribution), and the programs."""

    volume: Volume
    lock: Path
    pylock: Path
    setting: Setting
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
        python = self.setting.python
        command = f"{self.setting.pipm} --store {self.path(store)} -q sync {lock or self.lock}"
        mode = "" if "--link-mode" in options else f"--link-mode {self.modes[0]}"
        return f"{command} --env {self.path(env)} --python {python} {mode} {' '.join(options)}"

    def uv_sync(
        self, env: str, *options: str, lock: Path | None = None, cache: str = "uv-cache", offline: bool = True
    ) -> str:
        """The command by which uv makes or changes the environment *env*: the fastest that it documents."""
        mode = "" if "--link-mode" in options else f"--link-mode {self.modes[1]}"
        project = (lock or self.lock).parent
        python = self.setting.python
        flags = f"{'--offline' if offline else ''} {mode} {' '.join(options)}"
        target = f"UV_PROJECT_ENVIRONMENT={self.path(env)} {self._uv(cache)}"
        return f"{target} sync -q --frozen --no-install-project --project {project} --python {python} {flags}"

    def uv_pip_sync(self, env: str, lock: Path, *options: str) -> str:
        """The command by which uv makes the environment *env* from a pylock.toml or a requirements file."""
        python, uv = self.setting.python, self._uv("uv-cache")
        fill = f"{uv} pip sync -q --preview-features pylock --link-mode {self.modes[1]} {' '.join(options)}"
        return (
            f"{uv} venv -q --python {python} {self.path(env)}"
            f" && {fill} --python {self.path(env)}/bin/python {lock}"
        )

    def _uv(self, cache: str) -> str:
        return f"UV_CACHE_DIR={self.path(cache)} UV_NO_CONFIG=1 {self.setting.uv}"

    def pip(self, env: str) -> str:
        """The command of pip, which has the wheels of all in a folder."""
        wheels, python = self.path("wheels"), self.setting.python
        make = f"{python} -m venv --without-pip {self.path(env)}"
        pip = f"{sys.executable} -m pip --python {self.path(env)}/bin/python install -q --no-index"
        return f"{make} && {pip} --disable-pip-version-check --no-deps --find-links {wheels} {wheels}/*.whl"

    def importing(self, env: str) -> str:
        """The first start of a program in the environment."""
        imports = QUICK_IMPORTS if self.setting.quick else IMPORTS
        return f"{self.path(env)}/bin/python -c '{imports}'"


@dataclass(frozen=True, slots=True)
class Contender:
    """``before`` is run unmeasured; ``fresh`` is what is set aside before that."""

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
        "pipm --version": Contender(f"{context.setting.pipm} --version"),
        "finder": Contender(context.pipm("served", *served), ("served",)),
        "finder, no metadata folders": Contender(context.pipm("bare", *served, "--no-dist-info"), ("bare",)),
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


def starts(context: Ground) -> dict[str, Contender]:
    """Short commands against a bare interpreter."""
    return {
        "python": Contender(f"exec {context.path('run')}/bin/python -c pass"),
        "version": Contender(f"exec {context.setting.pipm} --version"),
        "pipm, nothing to do": Contender(f"exec {context.pipm('run', '--compile')}"),
        "uv, nothing to do": Contender(f"exec env {context.uv_sync('uv-run')}"),
        "finder, nothing to do": Contender(f"exec {context.pipm('served', '--link-mode', 'finder')}"),
    }


GROUPS: dict[str, Callable[[Ground], dict[str, Contender]]] = {
    "links": links,
    "peers": peers,
    "copies": copies,
    "imports": imports,
    "compiled": compiled,
    "finder": finder,
    "cold": cold,
    "starts": starts,
}
QUICK_GROUPS = ("links", "imports", "finder", "starts")


def write_listing(context: Ground) -> None:
    """Write what the floor does: the tree that pipm made without bytecode, out of the store."""
    words = [sys.executable, "-m", "benchmarks.listing", context.path("plain"), context.path("store")]
    context.setting.run(words, environ={"PYTHONPATH": REPOSITORY})
    Path(context.path("listing")).write_text(context.setting.printed())


def prepare(context: Ground, group: str) -> None:
    """Fill the caches and make what the group takes for granted.

    What was downloaded lies beside the file system: the next one gets copies.
    """
    run, seed = context.setting.run, context.lock.parent.parent / "seed"
    filled = () if group == "cold" else ("store", "uv-cache")
    for name in filled:
        if (seed / name).exists() and not Path(context.path(name)).exists():
            run(["cp", "-a", seed / name, context.path(name)])
    if group != "cold":
        run(context.pipm("run", "--compile"))
        run(context.uv_sync("uv-run", offline=False))
    if group == "links":
        run(context.pipm("plain", "--no-compile"))
    if group in ("finder", "starts"):
        run(context.pipm("served", "--link-mode", "finder"))
    if group == "compiled":
        wheel = f"{sys.executable} -m pip wheel -q --no-deps --disable-pip-version-check"
        run(f"{wheel} -w {context.path('wheels')} -r {PINS}")
    for name in filled:
        if not (seed / name).exists():
            seed.mkdir(exist_ok=True)
            run(["cp", "-a", context.path(name), seed / name])
    if group == "links":
        write_listing(context)


def measure_group(context: Ground, group: str, rounds: int) -> Iterator[Record]:
    """Run all contenders of *group* *rounds* times, after a round that is not counted."""
    run = context.setting.run
    contenders = GROUPS[group](context)
    names = list(contenders)
    for old in ("run", "uv-run"):  # of another group
        context.volume.set_aside(old)
    prepare(context, group)
    for number in range(0 if group == "cold" else -1, rounds):
        # What builds on an environment stays behind what makes it.
        turn = number % 4 if group == "links" and number >= 0 else 0
        order = names[turn:4] + names[:turn] + names[4:] if group == "links" else names
        for name in order if number % 2 == 0 or group == "links" else reversed(order):
            one = contenders[name]
            for old in one.fresh:
                context.volume.set_aside(old)
            run(one.before)
            context.volume.sync()
            figures = run(one.command)
            if number >= 0:
                yield Record(context.volume.kind, name, number, figures)


def pinned(setting: Setting) -> list[str]:
    """Return the requirements of the lock."""
    pins = [line.split()[0] for line in PINS.read_text().splitlines() if line[:1].isalnum()]
    return [pin for pin in pins if not setting.quick or pin.partition("==")[0] in QUICK]


def make_locks(folder: Path, setting: Setting) -> tuple[Path, Path]:
    """Write uv.lock and pylock.toml, and a smaller uv.lock, unless they are there; the first two's paths."""
    pins = pinned(setting)
    version = ".".join(map(str, sys.version_info[:2]))
    for name, some in (("whole", pins), ("smaller", [pin for pin in pins if not pin.startswith(ADDED)])):
        project = folder / name
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
            setting.run([setting.uv, "lock", "-q", "--project", project, "--python", sys.executable])
    pylock = folder / "pylock.toml"
    if not pylock.exists():
        export = [setting.uv, "export", "-q", "--frozen", "--no-emit-project", "--format", "pylock.toml"]
        setting.run([*export, "--project", folder / "whole", "-o", pylock])
    return folder / "whole" / "uv.lock", pylock


def measure(setting: Setting) -> Iterator[Record]:
    """Measure on each kind of file system."""
    folder = setting.folder("sync")
    floor = folder / "floor"
    setting.run(["cc", "-O2", "-o", floor, FLOOR])
    lock, pylock = make_locks(folder, setting)
    for kind in setting.kinds or (("ext4",) if setting.quick else tuple(MODES)):
        with fresh_volume(kind, folder, SIZE) as volume:
            context = Ground(volume=volume, lock=lock, pylock=pylock, setting=setting, floor=floor)
            for group in setting.groups or (QUICK_GROUPS if setting.quick else GROUPS):
                quick, whole = {"cold": (1, 3), "starts": (10, 40)}.get(group, (2, 7))
                yield from measure_group(context, group, setting.count(quick, whole))


TABLES = (
    Table(
        "sync",
        tuple(Part(kind, place=kind, figures=TIMES) for kind in MODES),
        (
            Part("the same files / uv", "pipm, no bytecode", "uv", goal=1.0),
            Part("the same files / floor", "pipm, no bytecode", "floor", goal=1.6),
            Part("with bytecode / uv without", "pipm", "uv", goal=1.1),
            Part("lock to first import / the same by uv", "pipm, then import", "uv, then import", goal=0.35),
            Part("every file copied / uv `copy`", "pipm copies, no bytecode", "uv copies"),
            Part("one distribution added / uv", "pipm adds one", "uv adds one"),
            Part("finder / uv by links", "finder", "uv by links", goal=0.35),
            Part(
                "finder, lock to first import / uv",
                "finder, then import",
                "uv by links, then import",
                goal=0.35,
            ),
            Part("finder - `pipm --version`", "finder", "pipm --version", unit="ms"),
            Part("the same, `--no-dist-info`", "finder, no metadata folders", "pipm --version", unit="ms"),
            Part("with bytecode / uv `--compile-bytecode`", "pipm again", "uv with bytecode"),
            Part(
                "lock to first import / uv `--compile-bytecode`",
                "pipm again, then import",
                "uv with bytecode, then import",
                goal=0.12,
            ),
            Part("with bytecode / pip, wheels at hand", "pipm again", "pip"),
            Part("cold, no bytecode / uv", "pipm, no bytecode, cold", "uv, cold", goal=1.2),
            Part(
                "cold, all bytecode / uv `--compile-bytecode`",
                "pipm, cold",
                "uv with bytecode, cold",
                goal=1.0,
            ),
            Part("uv sync --frozen / the same `--offline`", "uv sync --frozen", "uv sync --frozen --offline"),
            Part(
                "uv pip sync pylock.toml / uv sync --frozen --offline",
                "uv pip sync pylock.toml",
                "uv sync --frozen --offline",
            ),
        ),
    ),
    Table(
        "starts",
        tuple(Part(kind, place=kind, figures=TIMES) for kind in MODES),
        (
            Part("`python -c pass`", "python", unit="ms"),
            Part("`pipm --version`, beyond that", "version", "python", unit="ms", goal=25),
            Part(
                "nothing to do, beyond `python -c pass`", "pipm, nothing to do", "python", unit="ms", goal=25
            ),
            Part("finder, nothing to do, beyond that", "finder, nothing to do", "python", unit="ms", goal=25),
            Part("nothing to do / uv", "pipm, nothing to do", "uv, nothing to do"),
        ),
    ),
)
