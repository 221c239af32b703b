"""Build the corpus: eight real environments with many distributions in common.

Four are made by pip and four by uv, all with bytecode, from the pins in `requirements/`. An
environment that is complete already is left alone, so an interrupted build can be run again.
"""

from __future__ import annotations

import enum
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import child_environment, output

REQUIREMENTS = Path(__file__).parent / "requirements"
RECIPES = ".recipes"


class Maker(enum.Enum):
    """The program that makes an environment and fills it."""

    PIP = "pip"
    UV = "uv"


ENVIRONMENTS = {
    "science": Maker.PIP,
    "web": Maker.PIP,
    "notebooks": Maker.PIP,
    "tools": Maker.PIP,
    "api": Maker.UV,
    "older": Maker.UV,
    "mixed": Maker.UV,
    "learning": Maker.UV,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The interpreter all environments are made for, and the uv that makes half of them."""

    python: str
    uv: str


def make_with_pip(folder: Path, requirements: Path, tools: Tools) -> None:
    """Make one environment by venv and pip, which compiles what it installs."""
    run([tools.python, "-m", "venv", str(folder)])
    install = ["install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run([str(folder / "bin/python"), "-m", "pip", *install, "-r", str(requirements)])


def make_with_uv(folder: Path, requirements: Path, tools: Tools) -> None:
    """Make one environment by uv, with copies instead of links into its cache, and bytecode."""
    run([tools.uv, "venv", "--quiet", "--python", tools.python, str(folder)])
    install = ["pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    stored_layout = ["--link-mode", "copy", "--compile-bytecode", "--python", str(folder)]
    run([tools.uv, *install, *stored_layout, "-r", str(requirements)])


def build(name: str, corpus: Path, tools: Tools) -> bool:
    """Make environment `name` below `corpus` unless it is there; return whether it was made."""
    requirements = REQUIREMENTS / f"{name}.txt"
    recipe = recipe_digest(ENVIRONMENTS[name], requirements, tools)
    mark = corpus / RECIPES / name
    folder = corpus / name
    if mark.exists() and mark.read_text() == recipe:
        return False
    mark.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    maker = make_with_pip if ENVIRONMENTS[name] is Maker.PIP else make_with_uv
    maker(folder, requirements, tools)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(recipe)
    return True


def recipe_digest(maker: Maker, requirements: Path, tools: Tools) -> str:
    """Return what tells a complete environment from one made otherwise."""
    parts = [maker.value, output([tools.python, "-VV"]), requirements.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run(command: list[str]) -> None:
    """Run a command of the build; its failure ends the build."""
    subprocess.run(command, check=True, env=child_environment())
