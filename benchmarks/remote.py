"""An empty machine until the first import, over 100 Mbit/s and 20 ms: pipm out of a remote, and uv.

The scratch folder keeps the wheels, the store and the remote. The contenders take turns; each begins with no
store, no cache and no environment. The server's processor time is not counted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

from benchmarks.process import REPOSITORY, child_environment
from benchmarks.record import Record
from benchmarks.sync import IMPORTS, SIZE
from benchmarks.tables import TIMES, Part, Table
from benchmarks.volume import fresh_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

LOCK = REPOSITORY / "benchmarks" / "requirements" / "sync.txt"
PORT = 5571
SERVER = f"http://127.0.0.1:{PORT}"
BASE = "uv --compile-bytecode"


def add_wheels(scratch: Path) -> None:
    """Download the wheels of the lock to *scratch*, unless they are there."""
    if not (scratch / "wheels").exists():
        download = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*download, "-d", scratch / "part", "-r", LOCK], check=True)
        (scratch / "part").rename(scratch / "wheels")


def environment_of(scratch: Path) -> dict[str, str]:
    """Return the environment of all contenders."""
    return child_environment() | {
        "XDG_CONFIG_HOME": str(scratch / "config"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def prepare(scratch: Path, python: str) -> None:
    """Fill *scratch*, unless it is filled."""
    environ = environment_of(scratch)
    pipm: list[str | Path] = [sys.executable, "-m", "pipm", "--store", scratch / "store"]
    add_wheels(scratch)
    if not (scratch / "remote" / "v1" / "index").exists():
        wheels = sorted((scratch / "wheels").iterdir())
        subprocess.run([*pipm, "-q", "store", "add", *wheels], env=environ, check=True)
        make = [*pipm, "-q", "sync", LOCK, "--env", scratch / "env", "--python", python, "--compile"]
        subprocess.run(make, env=environ, check=True)
        if not (scratch / "config" / "pipm" / "signing.key").exists():
            subprocess.run([*pipm, "key", "new"], env=environ, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*pipm, "-q", "push", scratch / "remote", scratch / "env"], env=environ, check=True)


def contenders(uv: str, python: str, place: Path) -> dict[str, str]:
    """Return a shell command for each contender, which leaves an environment in *place*."""
    make = f"{uv} venv -q --python {python} {place}/env && {uv} pip sync -q --link-mode hardlink"
    fill = f"{make} --default-index {SERVER}/simple/ --python {place}/env/bin/python {LOCK}"
    pipm = f"{sys.executable} -m pipm --store {place}/store -q sync {LOCK}"
    options = f"--env {place}/env --python {python}"
    start = f"{place}/env/bin/python -c '{IMPORTS}'"
    return {
        "pipm": f"PIPM_REMOTE={SERVER}/remote PIP_NO_INDEX=1 {pipm} {options} && {start}",
        BASE: f"UV_CACHE_DIR={place}/cache {fill} --compile-bytecode && {start}",
        "uv": f"UV_CACHE_DIR={place}/cache {fill} && {start}",
    }


def run_on_new_disk(
    setting: Setting, command: str, place: Path, environ: dict[str, str], line: str = "12500000/20"
) -> dict[str, float]:
    """Run one contender on nothing over *line* (see `slow_link`); return its times, requests and bytes.

    *place* is below the folder ``ext4``, where a new file system is mounted: for five minutes ext4 does not
    use inodes again that were deleted, and a contender would pay for what the one before it left.
    """
    with fresh_volume("ext4", place.parent.parent, SIZE):
        found = _run(setting, command, place, environ, line)
        while place.exists():  # what compiles in the background may still write there
            shutil.rmtree(place, ignore_errors=True)
            time.sleep(1)
    return found


def _run(setting: Setting, command: str, place: Path, environ: dict[str, str], line: str) -> dict[str, float]:
    (place / "tmp").mkdir(parents=True)
    os.sync()
    with urllib.request.urlopen(f"{SERVER}/line/{line}"):
        pass
    found = setting.run(command, environ=environ | {"XDG_CACHE_HOME": str(place / "home")})
    with urllib.request.urlopen(f"{SERVER}/count") as answer:
        requests, sent = map(int, answer.read().split())
    return found | {"requests": requests, "bytes": sent}


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[dict[str, str]]:
    """Serve the wheels and the remote of *scratch*; yield the environment of all contenders."""
    environ = environment_of(scratch)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.slow_link", scratch / "wheels", scratch / "remote", str(PORT)],
        env=environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        wait_for_server()
        yield environ
    finally:
        server.terminate()
        server.wait()


def measure(setting: Setting) -> Iterator[Record]:
    """Take turns."""
    scratch = setting.folder("remote")
    prepare(scratch, setting.python)
    with serving(scratch) as environ:
        place = scratch / "ext4" / "place"
        commands = contenders(setting.uv, setting.python, place)
        for number in range(setting.count(1, 3)):
            for name, command in commands.items():
                yield Record("any", name, number, run_on_new_disk(setting, command, place, environ))


def wait_for_server() -> None:
    """Wait until the server has read the wheels."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{SERVER}/count"):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


TABLES = (
    Table(
        "remote",
        (Part("wall (processor)", figures=TIMES, place="any"),),
        (
            Part(f"pipm / {BASE}", "pipm", BASE, goal=0.7),
            Part("pipm / uv", "pipm", "uv", goal=1.2),
        ),
    ),
)
