"""Measure pipm against its peers, keep the records, and write the tables of README.md.

    scripts/bench [--quick] [--rounds N] [--kind ext4]… [--group GROUP]… [NAME…]

Without a name all benchmarks run; `--tables` measures nothing. The scratch folder keeps what was downloaded
and built for the next run. A quick run prints its tables and leaves the records and the page as they are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import REPOSITORY, busy_seconds, child_environment, end_on_signals
from benchmarks.record import FOLDER, keep, read
from benchmarks.setting import Setting
from benchmarks.tables import markdown, write_into

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.record import Record

README = Path(__file__).parent / "README.md"
NAMES = ("sync", "finder", "run", "worktree", "adopt", "memory", "scale", "pip", "cold", "remote", "pack")
_IDLE = 0.2
"""Seconds that the processors may be busy in two seconds of an idle machine."""
SLOW = frozenset({"pip", "cold", "remote", "pack"})
"""Not in a quick run."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    add(
        "--quick",
        action="store_true",
        help="a part of some in a few minutes",
    )
    add("--tables", action="store_true", help="write the tables alone")
    add("--rounds", type=int)
    add("--kind", action="append", default=[], choices=("ext4", "xfs", "btrfs"), help="default: all")
    add("--group", action="append", default=[], help="of sync; of adopt: a program; of scale: a number")
    add("--scratch", type=Path, default=Path("/var/tmp/pipm-bench"), help="default: %(default)s")
    add("--uv", default="uv")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    end_on_signals()
    names = arguments.names or [name for name in NAMES if not (arguments.quick and name in SLOW)]
    records = arguments.scratch.resolve() / "records" if arguments.quick else FOLDER
    if not arguments.tables:
        measure(arguments, names, records)
    if arguments.quick:
        for name, table in tables_of(names, records).items():
            print(f"\n{name}\n\n{table}", end="")
    else:
        text = write_into(README.read_text(encoding="utf-8"), tables_of(NAMES, records))
        README.write_text(text, encoding="utf-8")


def measure(arguments: argparse.Namespace, names: Sequence[str], folder: Path) -> None:
    """Run the benchmarks *names* and keep what they showed in *folder*, each as soon as it ends."""
    uv = shutil.which(arguments.uv)
    if uv is None:
        raise SystemExit("uv is not there; name it: scripts/bench --uv UV")
    scratch: Path = arguments.scratch.resolve() / ("quick" if arguments.quick else "whole")
    scratch.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        scratch=scratch,
        uv=uv,
        quick=arguments.quick,
        rounds=arguments.rounds,
        kinds=tuple(arguments.kind),
        groups=tuple(arguments.group),
    )
    # An installer compiles pipm's modules for its users.
    compile_all = [sys.executable, "-m", "compileall", "-q", str(REPOSITORY / "dedupe")]
    subprocess.run(compile_all, check=True, env=child_environment())
    for name in names:
        where = seen(quick=arguments.quick)
        started = time.monotonic()
        records: list[Record] = []
        try:
            made = importlib.import_module(f"benchmarks.{name}").measure(setting)
            records.extend(record._replace(seen=where) for record in made)
        finally:
            keep(name, records, folder)  # what was measured before an interruption, too
        print(f"{name}: {len(records)} runs, {time.monotonic() - started:.0f} s", flush=True)


def seen(*, quick: bool) -> str:
    """Return where and when this run measures, and whether the machine is idle before it."""
    day = dt.datetime.now(dt.UTC).date().isoformat()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors"
    # A load average would still have the benchmark before this one in it.
    busy = busy_seconds()
    time.sleep(2)
    load = "quiet" if busy_seconds() - busy < _IDLE else "other work beside"
    return ", ".join([day, machine, load, *(["quick"] if quick else [])])


def tables_of(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the tables of the benchmarks *names* as markdown, from the records in *folder*."""
    return {
        table.name: markdown(table, read(name, folder))
        for name in names
        for table in importlib.import_module(f"benchmarks.{name}").TABLES
    }


if __name__ == "__main__":
    main()
