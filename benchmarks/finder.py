"""Starts and imports in a finder environment, against the ordinary one and a line a distribution.

Three environments of the same distributions: *flat*, an ordinary venv; *finder*, a copy that was adopted
with ``--link-mode finder``; *lines*, the finder's without its hook: ``sys.path`` has an entry for each
distribution. The three take turns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.process import child_environment
from benchmarks.record import Record
from benchmarks.sync import PINS
from benchmarks.tables import Part, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

PROGRAMS = {
    "start": "pass",
    "start -I": "pass",
    "one small import": "import six",
    "twenty missing imports": (
        "for n in range(20):\n try: __import__('missing_%d' % n)\n except ImportError: pass"
    ),
    "entry points": "import importlib.metadata as m; m.entry_points()",
    "numpy": "import numpy",
    "pandas": "import pandas",
    "scikit-learn": "import sklearn.linear_model",
    "matplotlib": "import matplotlib.pyplot",
    "django": "import django.http",
    "boto3": "import boto3",
}
GROWING = ("start -I", "twenty missing imports", "entry points")
SIZES = (10, 30, 100, 160, 300, 1000)
KINDS = ("flat", "finder", "lines")


def processor_seconds(python: str, options: list[str], code: str) -> float:
    """Return the processor time of one run: what else the machine does counts little in it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = os.posix_spawn(python, [python, *options, "-c", code], environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{python} -c {code!r} ended with {status}")
    return usage.ru_utime + usage.ru_stime


def compare(folder: str, name: str, rounds: int, size: str = "") -> Iterator[Record]:
    """Run program *name* in the three environments in turn; the first round is not counted."""
    options = ["-I"] if name.endswith("-I") else []
    for number in range(-1, rounds):
        for kind in KINDS:
            seconds = processor_seconds(f"{folder}/{kind}/bin/python", options, PROGRAMS[name])
            if number >= 0:
                yield Record(f"{name}{size}", kind, number, {"processor": round(seconds, 5)})


def serve(folder: str) -> None:
    """Make *finder* and *lines* of the environment *flat* in *folder*, where they are not there."""
    flat, finder, lines = (f"{folder}/{kind}" for kind in ("flat", "finder", "lines"))
    if not os.path.isdir(finder):
        subprocess.run(["cp", "-a", flat, finder], check=True)
        command = [f"{sys.prefix}/bin/pipm", "-qq", "adopt", "--link-mode", "finder", finder]
        environ = child_environment() | {"PIPM_STORE": f"{folder}/store"}
        if subprocess.run(command, env=environ, check=False).returncode not in (0, 3):
            raise SystemExit("pipm adopt failed")
    if not os.path.isdir(lines):
        subprocess.run(["cp", "-a", finder, lines], check=True)
        (site,) = (os.path.join(path, "site-packages") for path in _versions(f"{lines}/lib"))
        os.unlink(f"{site}/000_pipm.pth")


def _versions(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(("python", "pypy"))]


def make_flat(path: str, count: int) -> None:
    """Make an ordinary environment of *count* small synthetic distributions, with bytecode."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    (version,) = _versions(f"{path}/lib")
    for number in range(count):
        name = f"package_{number}"
        info = f"{version}/site-packages/{name}-1.0.dist-info"
        package = f"{version}/site-packages/{name}"
        files = {
            f"{package}/__init__.py": f"NUMBER = {number}\n",
            f"{package}/module.py": f"VALUE = {number * 7}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\ncommand-{number} = {name}:NUMBER\n",
        }
        base = f"{version}/site-packages/"
        files[f"{info}/RECORD"] = "".join(f"{file.removeprefix(base)},,\n" for file in files)
        for file, text in files.items():
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "w", encoding="ascii") as stream:
                stream.write(text)
    subprocess.run([f"{path}/bin/python", "-m", "compileall", "-q", f"{version}/site-packages"], check=True)


def measure(setting: Setting) -> Iterator[Record]:
    """Measure programs in a real environment, then starts in synthetic ones of several sizes."""
    folder = str(setting.folder("finder"))
    flat = f"{folder}/flat"
    if not os.path.isdir(f"{folder}/lines"):
        shutil.rmtree(flat, ignore_errors=True)
        setting.run([setting.uv, "venv", "-q", "--python", setting.python, flat])
        install = [
            setting.uv,
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--link-mode",
            "copy",
            "--compile-bytecode",
        ]
        setting.run([*install, "--python", f"{flat}/bin/python", "-r", PINS])
        serve(folder)
    for name in PROGRAMS:
        short = name.startswith(("start", "one"))
        yield from compare(folder, name, setting.count(10, 60) if short else setting.count(2, 12))
    for size in SIZES[2:3] if setting.quick else SIZES:
        place = f"{folder}/{size}"
        shutil.rmtree(place, ignore_errors=True)
        make_flat(f"{place}/flat", size)
        serve(place)
        for name in GROWING:
            yield from compare(place, name, setting.count(5, 30), f", {size}")
        shutil.rmtree(place)


_FIGURES = ("processor",)
TABLES = (
    Table(
        "finder",
        (
            Part("ordinary", "flat", unit="ms", figures=_FIGURES),
            Part("finder / ordinary", "finder", "flat", figures=_FIGURES),
            Part("lines / ordinary", "lines", "flat", figures=_FIGURES),
        ),
        tuple(Part(name, place=name) for name in PROGRAMS),
    ),
    Table(
        "finder-more",
        (
            Part("finder - ordinary", "finder", "flat", unit="ms", figures=_FIGURES),
            Part("lines - ordinary", "lines", "flat", unit="ms", figures=_FIGURES),
        ),
        tuple(Part(name, place=name, goal=2.0 if name == "start" else None) for name in PROGRAMS),
    ),
    Table(
        "finder-growth",
        (
            Part("finder / ordinary", "finder", "flat", figures=_FIGURES),
            Part("lines / ordinary", "lines", "flat", figures=_FIGURES),
        ),
        tuple(Part(f"{name}, {size}", place=f"{name}, {size}") for name in GROWING for size in SIZES),
    ),
)
