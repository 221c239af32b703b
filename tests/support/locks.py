"""Lock files for local wheels, and the expected environment."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import zipfile
from typing import TYPE_CHECKING

from support.snapshot import file_digest, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.synthetic import Environment


def pylock(folder: str, wheels: Iterable[str], *, hashes: dict[str, str] | None = None) -> str:
    """Write a pylock.toml that names these wheels by path; *hashes* replaces some by file name."""
    rows = ['lock-version = "1.0"\ncreated-by = "test"\n']
    for path in wheels:
        name, version = os.path.basename(path).split("-")[:2]
        digest = (hashes or {}).get(os.path.basename(path)) or file_digest(path)
        rows.append(
            f'[[packages]]\nname = "{name.replace("_", "-").lower()}"\nversion = "{version}"\n'
            f'wheels = [{{ name = "{os.path.basename(path)}", path = "{path}",'
            f' hashes = {{ sha256 = "{digest}" }} }}]\n'
        )
    lock = os.path.join(folder, "pylock.toml")
    os.makedirs(folder, exist_ok=True)
    with open(lock, "w", encoding="utf-8") as file:
        file.write("\n".join(rows))
    return lock


def assert_holds(environment: Environment, wheels: Iterable[str]) -> None:
    """Check that each file of these wheels is in site-packages with its bytes, and that RECORD is right."""
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if ".data/" not in name and not name.endswith(".dist-info/RECORD"):
                    with open(environment.file(name), "rb") as file:
                        assert file.read() == archive.read(name), name
            (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert_record(environment, info)


def assert_record(environment: Environment, info: str) -> None:
    """Check that RECORD names every file of the metadata folder, and has the right hashes and sizes."""
    with open(environment.file(f"{info}/RECORD"), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names = {row[0] for row in rows}
    there = {os.path.relpath(row.path, environment.site) for row in walk(environment.file(info))}
    assert {name for name in there if os.path.isfile(environment.file(name))} <= names
    for name, digest, size in rows:
        path = environment.file(name)
        with open(path, "rb") as file:
            content = file.read()
        if digest:
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={hashed}", str(len(content))), name
        else:
            assert name.endswith((".pyc", "/RECORD")), name


def stale_bytecode(environment: Environment) -> list[str]:
    """Return the sources whose bytecode is missing, or has another time or size."""
    stale = []
    tag = environment.run("import sys; print(sys.implementation.cache_tag)").strip()
    for row in walk(environment.site):
        if row.name.endswith(".py"):
            status = row.stat()
            try:
                folder, name = os.path.split(row.path)
                with open(os.path.join(folder, "__pycache__", f"{name[:-3]}.{tag}.pyc"), "rb") as file:
                    head = file.read(16)
            except FileNotFoundError:
                stale.append(row.path)
                continue
            wanted = (0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size)
            if tuple(int.from_bytes(head[i : i + 4], "little") for i in (4, 8, 12)) != wanted:
                stale.append(row.path)
    return stale
