"""The wrapped pip against plain pip and `uv pip install`: a second environment, wheels at hand, in pairs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.process import child_environment
from benchmarks.record import Record
from benchmarks.tables import TIMES, Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

SETS = {"jupyterlab": ["jupyterlab"], "pandas + scikit-learn": ["pandas", "scikit-learn"]}
PIP = "26.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A folder with wheels, an environment to be copied, and a store that knows the wheels."""

    folder: Path
    setting: Setting

    @property
    def wheels(self) -> str:
        """Where all installers take the wheels from."""
        return str(self.folder / "wheels")

    def run(self, *command: str) -> dict[str, float]:
        """Run a program that must succeed; return the time that it took."""
        settings = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_NO_CONFIG": "1",
            "PIPM_STORE": f"{self.folder}/store",
            "UV_CACHE_DIR": f"{self.folder}/uv-cache",
        }
        own = [name for name in os.environ if name.startswith(("PIP_", "UV_", "PIPM_"))]
        without = [word for name in own if name not in settings for word in ("-u", name)]
        return self.setting.run(["env", *without, *command], environ=settings)

    def fresh(self, name: str, *, wrapped: bool) -> Path:
        """Copy the environment that has pip alone; wrap its pip, or not."""
        path = self.folder / name
        if path.exists():
            shutil.rmtree(path)
        subprocess.run(["cp", "-a", str(self.folder / "template"), str(path)], check=True)
        if wrapped:
            self.run(self.setting.pipm, "-qq", "adopt", "--wrap-pip", str(path))
        os.sync()
        return path

    def pip(self, path: Path, *specs: str) -> dict[str, float]:
        """Install by the environment's pip."""
        where = ("--no-index", "--find-links", self.wheels)
        return self.run(f"{path}/bin/python", "-m", "pip", "install", "-q", *where, *specs)

    def uv_install(self, path: Path, *options: str) -> dict[str, float]:
        """Install by uv, whose cache has the wheels unpacked."""
        where = ("--no-index", "--find-links", self.wheels, "--python", f"{path}/bin/python")
        return self.run(self.setting.uv, "pip", "install", "-q", *where, *options)


def prepare(setting: Setting) -> Ground:
    """Fetch the wheels and make the environment to be copied, once."""
    folder = setting.folder("pip")
    context = Ground(folder=folder, setting=setting)
    template = folder / "template"
    if not (folder / "wheels").exists():
        shutil.rmtree(template, ignore_errors=True)
        subprocess.run([setting.python, "-m", "venv", str(template)], check=True, env=child_environment())
        variables = child_environment()  # the user's own index
        tool = [f"{template}/bin/python", "-m", "pip"]
        subprocess.run([*tool, "install", "-q", f"pip=={PIP}"], check=True, env=variables)
        needs = [spec for specs in SETS.values() for spec in specs]
        subprocess.run([*tool, "download", "-q", "-d", context.wheels, *needs], check=True, env=variables)
    return context


def contenders(context: Ground, specs: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Run each contender once, in a fresh environment of its own."""
    plain = context.fresh("plain", wrapped=False)
    wrapped = context.fresh("wrapped", wrapped=True)
    yield "plain", context.pip(plain, *specs)
    yield "wrapped", context.pip(wrapped, *specs)
    yield "plain, nothing to do", context.pip(plain, *specs)
    yield "wrapped, nothing to do", context.pip(wrapped, *specs)
    for name, options in (("uv", ()), ("uv --compile-bytecode", ("--compile-bytecode",))):
        yield name, context.uv_install(context.fresh("other", wrapped=False), *specs, *options)


def measure(setting: Setting) -> Iterator[Record]:
    """Measure all sets: store and cache learn the wheels first."""
    context = prepare(setting)
    for place, specs in SETS.items():
        shutil.rmtree(context.folder / "store", ignore_errors=True)
        yield Record(place, "first", 0, context.pip(context.fresh("first", wrapped=True), *specs))
        context.uv_install(context.fresh("other", wrapped=False), *specs)
        for number in range(setting.count(1, 3)):
            for name, found in contenders(context, specs):
                yield Record(place, name, number, found)


TABLES = (
    Table(
        "pip",
        tuple(Part(name, place=name, figures=TIMES) for name in SETS),
        (
            Part("wrapped pip / pip", "wrapped", "plain", goal=0.35),
            Part("`uv pip install` (no bytecode) / pip", "uv", "plain"),
            Part("`uv pip install --compile-bytecode` / pip", "uv --compile-bytecode", "plain"),
            Part("the first environment, from which the store learns / pip", "first", "plain"),
            Part("nothing to do - pip", "wrapped, nothing to do", "plain, nothing to do", unit="ms", goal=60),
        ),
    ),
)
