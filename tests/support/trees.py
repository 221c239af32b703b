"""Comparing environments that different installers made from the same lock, file by file."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.snapshot import file_digest, is_bytecode, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

REASONS = {
    "RECORD": "lists what this installer itself wrote",
    "INSTALLER": "names the installer",
    "REQUESTED": "each installer's own idea of what was asked for",
    "direct_url.json": "each installer's spelling",
    "uv_cache.json": "uv's own",
    "uv_build.json": "uv's own",
}
"""Files of a metadata folder that the specifications leave to the installer."""
_OF_VENV = frozenset({"pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG", "lib64"})
_OF_VENV_BIN = ("python", "activate", "Activate.ps1", "deactivate", "pydoc", "pypy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The features of a file that a user of an environment sees."""

    digest: str
    executable: bool


def stored_layouts(path: str) -> dict[str, Shape]:
    """Every file that a wheel brought, by its path; a script's own environment is taken out of it."""
    found = {}
    for row in walk(path):
        name = os.path.relpath(row.path, path)
        if is_bytecode(name) or row.is_dir() or not _is_a_wheels(name):
            continue
        executable = bool(row.stat().st_mode & 0o100)
        if name.startswith("bin/"):
            found[name] = Shape(digest=_script(row.path, path), executable=executable)
        else:
            found[name] = Shape(digest=file_digest(row.path), executable=executable)
    return found


def _is_a_wheels(name: str) -> bool:
    top, _, rest = name.partition("/")
    if top in _OF_VENV:
        return False
    if top == "bin":
        return not rest.startswith(_OF_VENV_BIN)
    folder, _, last = name.rpartition("/")
    if last.startswith("_virtualenv."):  # of `uv venv`, for Python before 3.10
        return False
    return not (folder.endswith(".dist-info") and last in REASONS)


def _script(path: str, environment: str) -> str:
    """The digest of a script without its first line; installers word the entry points' differently."""
    with open(path, "rb") as file:
        content = file.read()
    if b"sys.exit(" in content and b"import" in content and b"__main__" in content and len(content) < 700:
        return "an entry point"
    return content.replace(environment.encode(), b"ENV").partition(b"\n")[2].hex()[:64]


def differences(mine: str, theirs: str) -> Iterator[str]:
    """Name each file that differs between two environments, beyond what installers may do as they like."""
    one, other = stored_layouts(mine), stored_layouts(theirs)
    for name in sorted(one.keys() | other.keys()):
        if name not in other:
            yield f"{name}: only mine"
        elif name not in one:
            yield f"{name}: only theirs"
        elif one[name] != other[name]:
            yield f"{name}: {one[name]} is not {other[name]}"


def record_differences(mine: str, theirs: str) -> Iterator[str]:
    """Compare the RECORDs: the rows of files that the wheel brought must be the same."""
    for row in walk(mine):
        if row.name == "RECORD":
            other = os.path.join(theirs, os.path.relpath(row.path, mine))
            if os.path.exists(other):
                one, two = _rows(row.path), _rows(other)
                for name in sorted(set(one) ^ set(two)):
                    yield f"{os.path.relpath(row.path, mine)}: {name}"


def _rows(record: str) -> set[tuple[str, str]]:
    with open(record, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [(row[0], row[1]) for row in csv.reader(file) if row]
    return {
        (os.path.normpath(name), digest)
        for name, digest in rows
        if not is_bytecode(name) and os.path.basename(name) not in REASONS and "/bin/" not in name
    }
