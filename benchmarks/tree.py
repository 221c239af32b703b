"""Count what lies below some folders, as one JSON object.

    python -m benchmarks.tree DIR …

`stale_bytecode` counts the `.pyc` files that an interpreter would throw away because the source
beside them has another mtime or size by now: what replacing sources behind Python's back costs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    StrPath = str | os.PathLike[str]

HEADER = struct.Struct("<4sLLL")  # magic, flags, source mtime, source size: PEP 552


class Entry(NamedTuple):
    """One name below a folder."""

    path: str
    status: os.stat_result


def tree_facts(roots: Iterable[StrPath]) -> dict[str, int]:
    """Return counts of the names, and of the inodes and their bytes, below `roots`."""
    inodes: dict[tuple[int, int], os.stat_result] = {}
    facts = dict.fromkeys(("files", "folders", "symlinks", "bytecode", "stale_bytecode"), 0)
    for path, status in walk(roots):
        inodes[status.st_dev, status.st_ino] = status
        if stat.S_ISDIR(status.st_mode):
            facts["folders"] += 1
        elif stat.S_ISLNK(status.st_mode):
            facts["symlinks"] += 1
        else:
            facts["files"] += 1
            if path.endswith(".pyc"):
                facts["bytecode"] += 1
                facts["stale_bytecode"] += is_stale(path)
    files = [status for status in inodes.values() if stat.S_ISREG(status.st_mode)]
    return facts | {
        "inodes": len(inodes),
        "bytes": sum(status.st_size for status in files),
        "allocated_bytes": sum(status.st_blocks * 512 for status in files),
    }


def walk(roots: Iterable[StrPath]) -> Iterator[Entry]:
    """Yield every name below `roots`, and the roots, not following symlinks."""
    waiting = [os.fspath(root) for root in roots]
    for root in waiting:
        yield Entry(root, os.lstat(root))
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield Entry(entry.path, entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def is_stale(bytecode: str) -> bool:
    """Return whether Python would compile again because of the times and sizes in the header."""
    try:
        status = os.stat(importlib.util.source_from_cache(bytecode))
        with open(bytecode, "rb", buffering=0) as file:
            _, flags, mtime, size = HEADER.unpack(file.read(HEADER.size))
    except (OSError, ValueError, struct.error):  # not in a __pycache__, or its source is gone
        return False
    if flags:  # checked by hash, or never
        return False
    return (mtime, size) != (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)


def main() -> None:
    """Print the facts of the folders given."""
    print(json.dumps(tree_facts(sys.argv[1:])))


if __name__ == "__main__":
    main()
