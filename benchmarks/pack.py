"""An image of `pipm store pack` against a venv: the time to make it, and processes that import from it.

Needs root: the image is mounted by a loop device, and the page cache is dropped before the processes start.
mksquashfs packs the venv with the options of pipm; the venv's bytecode exists already, where an image has
its own, so a peer compiles first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.process import child_environment
from benchmarks.record import Record
from benchmarks.sync import IMPORTS, PINS
from benchmarks.tables import TIMES, Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

PROCESSES = 64
MINE, PEER, COMPILED, DEFAULT = (
    "pipm store pack",
    "mksquashfs",
    "compileall, mksquashfs",
    "mksquashfs, level 15",
)
OPTIONS = "-comp zstd -no-xattrs -quiet -no-progress"


def measure(setting: Setting) -> Iterator[Record]:
    """Make the images in turns, then import from the image and from the venv."""
    scratch = setting.folder("pack")
    environ = child_environment() | {"XDG_CACHE_HOME": str(scratch / "cache")}
    pipm, sync = (
        f"{setting.pipm} -q --store {scratch}",
        f"sync {PINS} --python {setting.python} --env {scratch}",
    )
    setting.run(f"{pipm}/store {sync}/venv --compile", environ=environ)
    image, by_hand = scratch / "site.squashfs", scratch / "venv.squashfs"
    pack = f"mksquashfs {scratch}/venv {by_hand} {OPTIONS}"
    folder = f"PYTHONPYCACHEPREFIX={scratch}/pycache"
    compile_all = f"{folder} {scratch}/venv/bin/python -m compileall -q -j 0 {scratch}/venv/lib"
    commands = {
        MINE: f"{pipm}/store store pack {PINS} --env {scratch}/venv -o {image}",
        PEER: f"{pack} -Xcompression-level 9",
        COMPILED: f"{{ {compile_all} || true; }} > {scratch}/compiled && {pack} -Xcompression-level 9",
        DEFAULT: pack,
    }
    for number in range(setting.count(1, 3)):
        for name, command in commands.items():
            made = image if name == MINE else by_hand
            made.unlink(missing_ok=True)
            shutil.rmtree(scratch / "pycache", ignore_errors=True)
            found = setting.run(command, environ=environ)
            yield Record("any", name, number, found | {"bytes": made.stat().st_size})
        for name in ("own", "served"):
            shutil.rmtree(scratch / name, ignore_errors=True)
        point = setting.folder("pack/mounted")
        subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, point], check=True)
        try:
            layer = environ | {"PIPM_STORE_LAYERS": str(point)}
            setting.run(f"{pipm}/own {sync}/served --link-mode finder", environ=layer)
            for name, place in (("venv", "venv"), ("image", "served")):
                yield Record("any", name, number, starts(setting, f"{scratch}/{place}/bin/python"))
        finally:
            subprocess.run(["umount", point], check=True)


def starts(setting: Setting, python: str) -> dict[str, float]:
    """Return the times of many processes that import with nothing in memory, and the calls of one."""
    trace = setting.scratch / "trace"
    setting.run(["strace", "-fc", "-o", trace, python, "-c", IMPORTS])
    rows = re.findall(r"(\d+)(?:\s+\d+)?\s+(openat|newfstatat|stat|lstat)$", trace.read_text(), re.MULTILINE)
    opens = sum(int(count) for count, name in rows if name == "openat")
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    found = setting.run(f"for i in $(seq {PROCESSES}); do {python} -c '{IMPORTS}' & done; wait")
    return found | {"opens": opens, "stats": sum(int(count) for count, _ in rows) - opens}


TABLES = (
    Table(
        "pack",
        (
            Part("wall (processor)", figures=TIMES, place="any"),
            Part("bytes", figures=("bytes",), place="any"),
        ),
        (
            Part(f"{MINE} / mksquashfs of a venv", MINE, PEER),
            Part("… and compileall before", MINE, COMPILED),
            Part("… with mksquashfs's own level (15)", MINE, DEFAULT),
        ),
    ),
    Table(
        "pack-starts",
        (
            Part(f"{PROCESSES} processes, s", figures=TIMES, place="any"),
            Part("opens of one", figures=("opens",), place="any"),
            Part("stats of one", figures=("stats",), place="any"),
        ),
        (
            Part("venv", "venv"),
            Part("image", "image"),
            Part("image / venv", "image", "venv"),
        ),
    ),
)
