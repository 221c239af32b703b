"""Environments and wheels made in milliseconds, without an installer or a network."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.process import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Files = dict[str, bytes]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LONG_AGO = 1_600_000_000  # no installer ran in the second in which the test began


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A folder with pyvenv.cfg."""

    path: str
    version: str = VERSION
    implementation: str = "python"

    @property
    def site(self) -> str:
        """Its site-packages."""
        return os.path.join(self.path, "lib", f"{self.implementation}{self.version}", "site-packages")

    @property
    def python(self) -> str:
        """Its interpreter."""
        return os.path.join(self.path, "bin", "python")

    def run(self, code: str, *options: str) -> str:
        """Run a program of Python in it, which must succeed."""
        return check(self.python, *options, "-c", code, cwd=self.path)

    def file(self, name: str) -> str:
        """Return the path of a file in site-packages."""
        return os.path.join(self.site, name)

    def compile(self) -> None:
        """Write bytecode as pip does after an installation."""
        check(self.python, "-m", "compileall", "-q", self.site)

    def bytecode(self, name: str) -> str:
        """Return where this interpreter looks for the bytecode of a source."""
        code = f"import importlib.util as u; print(u.cache_from_source({self.file(name)!r}))"
        return self.run(code).strip()


def write(path: str, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file with its folders, as an installer would have long ago."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and not os.access(path, os.W_OK):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.utime(path, (LONG_AGO, LONG_AGO))


def make_environment(path: str, *, interpreter: str = "") -> Environment:
    """Make an environment like `python -m venv --without-pip`, without starting an interpreter."""
    base = os.path.realpath(interpreter or sys.executable)
    environment = Environment(path=path)
    os.makedirs(environment.site)
    os.makedirs(os.path.join(path, "bin"))
    os.symlink(base, environment.python)
    os.symlink("lib", os.path.join(path, "lib64"))
    patch = sys.version_info.micro
    text = (
        f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\nversion = {VERSION}.{patch}\n"
    )
    write(os.path.join(path, "pyvenv.cfg"), text.encode())
    return environment


def record_row(path: str, content: bytes) -> str:
    """Return a row of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}"


def record_text(files: Mapping[str, bytes], *own: str) -> str:
    """Return a RECORD: a hashed row for each file, an unhashed one for each name in `own`."""
    rows = [record_row(path, content) for path, content in sorted(files.items())]
    return "\n".join([*rows, *(f"{path},," for path in own), ""])


def dist_info(name: str, version: str) -> str:
    """Return the name of a distribution's metadata folder."""
    return f"{name.replace('-', '_')}-{version}.dist-info"


def wheel_files(name: str, version: str, files: Mapping[str, bytes]) -> Files:
    """Return a wheel's files with its metadata, without RECORD."""
    info = dist_info(name, version)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    about = {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode()}
    return about | dict(files)


def install(
    environment: Environment,
    spec: str,
    files: Mapping[str, bytes],
    *,
    executable: tuple[str, ...] = (),
    record: Callable[[str], bytes] = str.encode,
) -> None:
    """Write a distribution `name==version` as an installer does; `record` may spoil its RECORD."""
    name, version = spec.split("==")
    info = dist_info(name, version)
    whole = wheel_files(name, version, files)
    for path, content in whole.items():
        write(environment.file(path), content, mode=0o755 if path in executable else 0o644)
    whole[f"{info}/INSTALLER"] = b"test\n"
    write(environment.file(f"{info}/INSTALLER"), b"test\n")
    text = record_text(whole, f"{info}/RECORD")
    write(environment.file(f"{info}/RECORD"), record(text))


def make_wheel(folder: str, spec: str, files: Mapping[str, bytes]) -> str:
    """Write a wheel of `name==version` and return its path."""
    name, version = spec.split("==")
    whole = wheel_files(name, version, files)
    record = f"{dist_info(name, version)}/RECORD"
    path = os.path.join(folder, f"{name.replace('-', '_')}-{version}-py3-none-any.whl")
    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in whole.items():
            archive.writestr(member, content)
        archive.writestr(record, record_text(whole, record))
    return path


def package(name: str, *, modules: int = 12, seed: int = 1) -> Files:
    """Return an importable package: small and large modules, data, an empty file, a subpackage."""
    source = random.Random(f"{name} {seed}")
    files: Files = {
        f"{name}/__init__.py": f'NAME = "{name}"\nSEED = {seed}\n'.encode(),
        f"{name}/sub/__init__.py": b"",
        f"{name}/py.typed": b"",
        f"{name}/tool.sh": f"#!/bin/sh\necho {name} {seed}\n".encode(),
        f"{name}/data/table.bin": source.randbytes(70_000),
        f"{name}/data/small.bin": source.randbytes(900),
    }
    for number in range(modules):
        lines = source.choice((3, 40, 400))
        body = "".join(
            f"def function_{line}():\n    return {source.randrange(10**9)}\n" for line in range(lines)
        )
        place = "sub/" if number % 3 == 0 else ""
        text = f'"""Module {number} of {name}."""\n{body}'
        files[f"{name}/{place}module_{number}.py"] = text.encode()
    return files


def import_all(environment: Environment) -> str:
    """Import each module of each synthetic package; `-B` keeps that from mending bytecode."""
    code = (
        "import importlib, os, sys\n"
        f"site = {environment.site!r}\n"
        "for folder, folders, names in os.walk(site):\n"
        "    folders[:] = [f for f in folders if f.isidentifier() and f != '__pycache__']\n"
        "    for name in names:\n"
        "        if name.endswith('.py'):\n"
        "            path = os.path.relpath(os.path.join(folder, name), site)[:-3]\n"
        "            importlib.import_module(path.replace(os.sep, '.').removesuffix('.__init__'))\n"
    )
    return check(environment.python, "-I", "-B", "-c", code, cwd=environment.path)
