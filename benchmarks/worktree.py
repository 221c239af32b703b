"""A new git worktree of a project, itself editable and built by hatchling: `pipm sync` against `uv sync`.

    python -m benchmarks.worktree --work DIR --pipm PIPM --python PYTHON --uv UV [--rounds 7]

The tools take turns; each run gets a new worktree. Caches are warm, uv is offline, all read one uv.lock.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import time
from pathlib import Path

PYPROJECT = """\
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["rich", "requests", "pydantic", "httpx", "click", "jinja2", "sqlalchemy", "pytest"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def run(*command: str, cwd: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Run *command*, which must succeed; return wall and processor seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_repository(path: Path, options: argparse.Namespace, environ: dict[str, str]) -> None:
    """Make the repository of the project at *path*, with its lock."""
    (path / "src/app").mkdir(parents=True)
    (path / "src/app/__init__.py").write_text("VALUE = 1\n", encoding="ascii")
    (path / "pyproject.toml").write_text(PYPROJECT, encoding="ascii")
    (path / ".gitignore").write_text(".venv\n", encoding="ascii")
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t")
    for command in (
        (options.uv, "lock", "-q", "--python", options.python),
        (*git, "init", "-q"),
        (*git, "add", "-A"),
        (*git, "commit", "-qm", "one"),
    ):
        run(*command, cwd=path, environ=environ)


def main() -> None:
    """Print medians of all rounds and their ratio to uv's."""
    parser = argparse.ArgumentParser()
    for name in ("pipm", "python", "uv"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    work: Path = options.work
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ |= {
        "XDG_CACHE_HOME": f"{work}/cache",
        "UV_CACHE_DIR": f"{work}/uv-cache",
        "PIPM_STORE": f"{work}/store",
    }
    repository, tree = work / "repository", work / "tree"
    if not repository.exists():
        make_repository(repository, options, environ)
    pipm = (options.pipm, "sync", "-qq", "uv.lock", "--python", options.python)
    commands = {
        "uv sync": (options.uv, "sync", "-q", "--frozen", "--python", options.python),
        "pipm, hard links": (*pipm, "--link-mode", "hardlink"),
        "pipm, finder": (*pipm, "--link-mode", "finder"),
    }
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(options.rounds + 1):  # the first fills caches
        for name, command in commands.items():
            shutil.rmtree(tree, ignore_errors=True)
            run("git", "worktree", "prune", cwd=repository, environ=environ)
            run("git", "worktree", "add", "-q", "--detach", str(tree), cwd=repository, environ=environ)
            offline = ("--offline",) if number and "uv" in name else ()
            seen = run(*command, *offline, cwd=tree, environ=environ)
            if number:
                figures[name].append(seen)
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in figures.items()
    }
    base = medians["uv sync"]
    print("| | wall | processor time | wall / uv | processor time / uv |\n|---|--:|--:|--:|--:|")
    for name, (wall, processor) in medians.items():
        ratios = f"{wall / base[0]:.2f} | {processor / base[1]:.2f}"
        print(f"| {name} | {wall:.2f} s | {processor:.2f} s | {ratios} |")


if __name__ == "__main__":
    main()
