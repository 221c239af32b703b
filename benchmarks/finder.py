"""Starts and imports in a finder environment against the ordinary one that it was copied from, in pairs.

    python -m benchmarks.finder FLAT FINDER [--rounds 60]

CPU time of the child (user and system), so that what else the machine does counts little; the median of the
differences in pairs, and the ratio of the minima.
"""

from __future__ import annotations

import argparse
import os
import statistics

PROGRAMS = {
    "start": "pass",
    "start -I": "pass",
    "one small import": "import six",
    "twenty missing imports": (
        "for n in range(20):\n try: __import__('missing_%d' % n)\n except ImportError: pass"
    ),
    "entry points": "import importlib.metadata as m; m.entry_points(group='console_scripts')",
    "numpy": "import numpy",
    "pandas": "import pandas",
    "django": "import django.http",
}


def seconds(python: str, options: list[str], code: str) -> float:
    """CPU seconds of one run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = os.posix_spawn(python, [python, *options, "-c", code], environ)
    _, status, usage = os.wait4(process, 0)
    return usage.ru_utime + usage.ru_stime if status == 0 else float("nan")


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(description="Finder against ordinary environment.")
    parser.add_argument("flat")
    parser.add_argument("finder")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    pythons = [f"{path}/bin/python" for path in (options.flat, options.finder)]
    for name, code in PROGRAMS.items():
        isolated = ["-I"] if name.endswith("-I") else []
        rounds = options.rounds if name.startswith(("start", "one")) else max(5, options.rounds // 5)
        pairs = [[seconds(python, isolated, code) * 1000 for python in pythons] for _ in range(rounds)]
        flat, finder = (min(column) for column in zip(*pairs, strict=True))
        middle = statistics.median(two - one for one, two in pairs)
        row = f"flat {flat:8.2f} ms  finder {finder:8.2f} ms"
        print(f"{name:<24} {row}  ratio {finder / flat:5.2f}  in pairs {middle:+7.2f} ms", flush=True)


if __name__ == "__main__":
    main()
