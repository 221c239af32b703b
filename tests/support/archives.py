"""Wheel archives in memory, valid and invalid ones, and environments with them."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import sys
import warnings
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.digest import Digest
from pipm.store.layout import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

INFO = "demo-1.0.dist-info"
DATA = "demo-1.0.data"
FILE_NAME = "demo-1.0-py3-none-any.whl"
REGULAR = 0o100644
EXECUTABLE = 0o100755
CENTRAL = b"PK\x01\x02"
LOCAL = b"PK\x03\x04"


def record_row(path: str, content: bytes) -> str:
    """Return a row of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    quoted = '"' + path.replace('"', '""') + '"' if any(c in path for c in ',"\r\n') else path
    return f"{quoted},sha256={digest},{len(content)}\n"


@dataclass
class Archive:
    """A wheel ``demo 1.0`` in the making; every part may be spoiled."""

    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    info: str = INFO
    wheel: bytes = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    metadata: bytes | None = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    record: bytes | None = None
    extra: list[tuple[str, bytes]] = field(default_factory=list)
    method: int = zipfile.ZIP_DEFLATED

    def members(self) -> dict[str, bytes]:
        """All members but RECORD and *extra* ones."""
        about = {} if self.metadata is None else {f"{self.info}/METADATA": self.metadata}
        return self.files | about | {f"{self.info}/WHEEL": self.wheel}

    def rows(self) -> str:
        """RECORD as it should be."""
        rows = [record_row(path, content) for path, content in self.members().items()]
        return "".join(rows) + f"{self.info}/RECORD,,\n"

    def write(self, folder: str, file_name: str = FILE_NAME) -> str:
        """Write the archive and return its path."""
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, file_name)
        record = self.rows().encode() if self.record is None else self.record
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", self.method) as archive:
            warnings.simplefilter("ignore", UserWarning)  # of names that are there twice
            for name, content in [*self.members().items(), *self.extra]:
                member = zipfile.ZipInfo(name)
                member.compress_type = self.method
                member.external_attr = self.modes.get(name, REGULAR) << 16
                archive.writestr(member, content)
            if record:
                archive.writestr(f"{self.info}/RECORD", record)
        return path


def edit(path: str, old: bytes, new: bytes) -> None:
    """Replace bytes of a file."""
    with open(path, "rb") as file:
        data = file.read()
    assert old in data
    with open(path, "wb") as file:
        file.write(data.replace(old, new))


def patch_central(path: str, name: str, offset: int, layout: str, value: int) -> None:
    """Set a field of the central directory's header of *name*, at *offset* of the header."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    start = data.find(CENTRAL)
    while data[start + 46 : start + 46 + len(name)] != name.encode():
        start = data.index(CENTRAL, start + 4)
    struct.pack_into(layout, data, start + offset, value)
    with open(path, "wb") as file:
        file.write(data)


def spoil_content(path: str, name: str) -> None:
    """Turn the compressed bytes of *name* into nonsense."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    start = data.index(name.encode()) + len(name)
    data[start + 2 : start + 12] = b"\xff" * 10
    with open(path, "wb") as file:
        file.write(data)


def install(environment: str, files: Mapping[str, bytes], executable: tuple[str, ...] = ()) -> str:
    """Lay a distribution ``demo 1.0`` out as an installer does; returns site-packages.

    *files* are named as RECORD names them, dist-info included.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    site = os.path.join(environment, "lib", f"python{version}", "site-packages")
    os.makedirs(site)
    os.makedirs(os.path.join(environment, "bin"))
    with open(os.path.join(environment, "pyvenv.cfg"), "w", encoding="utf-8") as stream:
        stream.write(f"home = {os.path.dirname(sys.executable)}\nversion = {version}.0\n")
    record = "".join(record_row(path, content) for path, content in files.items())
    own = {f"{INFO}/INSTALLER": b"test\n", f"{INFO}/RECORD": f"{record}{INFO}/RECORD,,\n".encode()}
    for name, content in (dict(files) | own).items():
        path = os.path.normpath(os.path.join(site, name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o755 if name in executable else 0o644)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return site


GOOD = {
    "demo/__init__.py": b"NAME = 'demo'\n",
    "demo/empty.py": b"",
    "demo/tool.sh": b"#!/bin/sh\n",
    "demo/caf\u00e9.py": b"x = 1\n",
    "demo.pth": b"import demo\n",
    f"{DATA}/purelib/pure.py": b"p = 1\n",
    f"{DATA}/platlib/native.so": b"\x7fELF",
    f"{DATA}/scripts/run": b"#!python\nprint(1)\n",
    f"{DATA}/data/share/demo/x.txt": b"data\n",
    f"{DATA}/data/etc/demo.conf": b"conf\n",
    f"{DATA}/headers/demo.h": b"int x;\n",
}


def good() -> Archive:
    """A sound wheel of every kind of file."""
    return Archive(files=dict(GOOD), modes={"demo/tool.sh": EXECUTABLE, f"{DATA}/scripts/run": EXECUTABLE})


def opened(path: str) -> Store:
    """Make or open the store at *path*."""
    made = open_store(path)
    assert made is not None
    return made


def files_of(folder: str) -> set[str]:
    """Every file below *folder*, relative to it."""
    return {
        os.path.relpath(os.path.join(base, name), folder)
        for base, _, names in os.walk(folder)
        for name in names
    }


def digest_of_file(path: str) -> Digest:
    """The digest of the file at *path*."""
    with open(path, "rb") as stream:
        return Digest.of(stream.read())
