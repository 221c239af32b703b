"""The wrapped pip against plain pip and `uv pip install`: a second environment, wheels at hand, in pairs.

python -m benchmarks.pip DIR [--rounds 3] [--python PYTHON] [--pip VERSION] [--set NAME] [--clock CLOCK]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.process import child_environment

SETS = {"jupyterlab": ["jupyterlab"], "pandas + scikit-learn": ["pandas", "scikit-learn"]}
GOAL = 0.35
NO_OP_GOAL_MS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A folder with wheels, an environment to be copied, and a store that knows the wheels."""

    folder: Path
    python: str
    uv: str | None
    clock: str = "wall"

    @property
    def wheels(self) -> str:
        """Where all installers take the wheels from."""
        return str(self.folder / "wheels")

    def environment(self) -> dict[str, str]:
        """Return the variables of every child."""
        kept = {k: v for k, v in child_environment().items() if not k.startswith(("PIP_", "UV_", "PIPM_"))}
        settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CONFIG": "1"}
        places = {"PIPM_STORE": str(self.folder / "store"), "UV_CACHE_DIR": str(self.folder / "uv-cache")}
        return kept | settings | places

    def run(self, *command: str) -> float:
        """Run a program that must succeed; returns the seconds that it took."""
        started = self.now()
        subprocess.run(command, env=self.environment(), check=True, stdout=subprocess.DEVNULL)
        return self.now() - started

    def now(self) -> float:
        """The time by the chosen clock: all children's processor seconds hold on a busy machine, too."""
        if self.clock == "wall":
            return time.perf_counter()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    def fresh(self, name: str, *, wrapped: bool) -> Path:
        """Copy the environment that has pip alone; wrap its pip, or not."""
        path = self.folder / name
        if path.exists():
            shutil.rmtree(path)
        subprocess.run(["cp", "-a", str(self.folder / "template"), str(path)], check=True)
        if wrapped:
            self.run(sys.executable, "-m", "pipm", "-qq", "adopt", "--wrap-pip", str(path))
        os.sync()
        return path

    def pip(self, path: Path, *specs: str) -> float:
        """Install by the environment's pip."""
        where = ("--no-index", "--find-links", self.wheels)
        return self.run(f"{path}/bin/python", "-m", "pip", "install", "-q", *where, *specs)

    def uv_install(self, path: Path, *options: str) -> float:
        """Install by uv, whose cache has the wheels unpacked."""
        assert self.uv is not None
        where = ("--no-index", "--find-links", self.wheels, "--python", f"{path}/bin/python")
        return self.run(self.uv, "pip", "install", "-q", *where, *options)


def prepare(folder: Path, python: str, pip: str) -> Ground:
    """Fetch the wheels and make the environment to be copied, once."""
    context = Ground(folder=folder, python=python, uv=shutil.which("uv"))
    template = folder / "template"
    if not template.exists():
        folder.mkdir(parents=True, exist_ok=True)
        context.run(python, "-m", "venv", str(template))
        variables = child_environment()  # the user's own index
        tool = [f"{template}/bin/python", "-m", "pip"]
        subprocess.run([*tool, "install", "-q", f"pip=={pip}"], check=True, env=variables)
        needs = [spec for specs in SETS.values() for spec in specs]
        subprocess.run([*tool, "download", "-q", "-d", context.wheels, *needs], check=True, env=variables)
    return context


def contenders(context: Ground, specs: list[str]) -> dict[str, float]:
    """Run each contender once, in a fresh environment of its own."""
    plain = context.fresh("plain", wrapped=False)
    wrapped = context.fresh("wrapped", wrapped=True)
    seconds = {"plain": context.pip(plain, *specs), "wrapped": context.pip(wrapped, *specs)}
    seconds["plain, nothing to do"] = min(context.pip(plain, *specs) for _ in range(3))
    seconds["wrapped, nothing to do"] = min(context.pip(wrapped, *specs) for _ in range(3))
    if context.uv is not None:
        for name, options in (("uv", ()), ("uv --compile-bytecode", ("--compile-bytecode",))):
            other = context.fresh("other", wrapped=False)
            seconds[name] = context.uv_install(other, *specs, *options)
    print(*(f"{name} {value:.2f} s;" for name, value in seconds.items()), file=sys.stderr, flush=True)
    return seconds


def measure(context: Ground, name: str, specs: list[str], rounds: int) -> None:
    """Let store and cache learn the wheels, then print the ratios of some rounds."""
    first = context.fresh("first", wrapped=True)
    learning = context.pip(first, *specs)
    if context.uv is not None:
        context.uv_install(context.fresh("other", wrapped=False), *specs)
    results = [contenders(context, specs) for _ in range(rounds)]
    print(f"\n## {name}\n")
    print("| against plain pip | median | of the rounds |\n|---|---|---|")
    for contender in results[0]:
        if contender.startswith("plain"):
            continue
        base = "plain, nothing to do" if contender.endswith("nothing to do") else "plain"
        ratios = [result[contender] / result[base] for result in results]
        print(f"| {contender} | {statistics.median(ratios):.2f} | {' '.join(f'{r:.2f}' for r in ratios)} |")
    ratio = statistics.median(result["wrapped"] / result["plain"] for result in results)
    quickest = [min(r[f"{kind}, nothing to do"] for r in results) for kind in ("plain", "wrapped")]
    over = 1000 * (quickest[1] - quickest[0])
    print(
        f"\nwrapped / plain {ratio:.2f} (goal {GOAL}); nothing to do: {over:+.0f} ms (goal {NO_OP_GOAL_MS})"
    )
    plain = statistics.median(result["plain"] for result in results)
    print(f"the first environment, from which the store learns: {learning / plain:.2f} x plain")


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--pip", default="26.3")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--set", choices=SETS, action="append", help="default: all")
    options = parser.parse_args()
    context = replace(prepare(options.folder.resolve(), options.python, options.pip), clock=options.clock)
    for name in options.set or SETS:
        shutil.rmtree(context.folder / "store", ignore_errors=True)
        measure(context, name, SETS[name], options.rounds)


if __name__ == "__main__":
    main()
