"""A warm `pipm run` against its program alone, and against `uv run`, in pairs.

    python -m benchmarks.run PIPM FOLDER [--uv UV] [--rounds 60]

FOLDER has a lock (and, for uv, a project). Wall time of `python -c pass`; the median of the differences in
pairs, in turns, and the minima. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time

PROGRAM = ["python", "-c", "pass"]


def seconds(command: list[str], folder: str) -> float:
    """Wall time of one run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print a row for each way to start the program."""
    parser = argparse.ArgumentParser(description="A warm pipm run against its program.")
    parser.add_argument("pipm")
    parser.add_argument("folder")
    parser.add_argument("--uv")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    run = [options.pipm, "run", *PROGRAM]
    where = ["python", "-c", "import sys; print(sys.prefix)"]
    found = subprocess.run(
        [options.pipm, "run", *where], cwd=options.folder, capture_output=True, text=True, check=True
    )
    bare = [f"{found.stdout.strip()}/bin/python", *PROGRAM[1:]]
    rivals = {"pipm run": run}
    if options.uv:
        rivals["uv run"] = [options.uv, "run", "--frozen", "--no-sync", *PROGRAM]
    for name, command in rivals.items():
        seconds(command, options.folder)
        pairs = []
        for number in range(options.rounds):
            order = (command, bare) if number % 2 else (bare, command)
            one, other = (seconds(each, options.folder) * 1000 for each in order)
            pairs.append((one, other) if number % 2 else (other, one))
        with_it, without = (min(column) for column in zip(*pairs, strict=True))
        middle = statistics.median(one - two for one, two in pairs)
        print(
            f"{name:<10} {with_it:7.2f} ms  program {without:7.2f} ms  in pairs {middle:+7.2f} ms", flush=True
        )


if __name__ == "__main__":
    main()
