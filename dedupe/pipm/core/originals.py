"""Mode, group and time that files had before they were shared, and how these are stored.

Rows are kept by distribution, named by its metadata folder: another version of it has other files, and
none of these rows is about them.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC = b"pipm originals 1\n"
_LENGTH = struct.Struct("<Q")
_COLUMNS = "IIq"
"""Mode, group and time, as `struct` names their sizes."""
_FASTEST = 1


class Original(NamedTuple):
    """Mode (permission bits), group and modification time of a file or folder."""

    mode: int
    group: int
    mtime_ns: int


Originals = dict[str, dict[str, Original]]
"""Originals by metadata folder and path, relative to the environment; a folder's path ends with ``/``."""


def originals_bytes(originals: Mapping[str, Mapping[str, Original]]) -> bytes:
    """Write a record that `originals_from` reads; several may follow one another."""
    rows = [row for paths in originals.values() for row in paths.values()]
    names = {key: _by_folder(paths) for key, paths in originals.items()}
    # The columns follow the order of the names.
    header = json.dumps(names, separators=(",", ":")).encode("ascii")
    columns = zip(_COLUMNS, zip(*rows, strict=True), strict=True) if rows else ()
    body = b"".join(struct.pack(f"<{len(rows)}{kind}", *column) for kind, column in columns)
    return _MAGIC + zlib.compress(_LENGTH.pack(len(header)) + header + body, _FASTEST)


def originals_from(data: bytes) -> Originals | None:
    """Read the data of `originals_bytes`; return None if it is incomplete or has another format."""
    found: Originals | None = None
    try:
        while data:
            if not data.startswith(_MAGIC):
                return None
            stream = zlib.decompressobj()
            text = stream.decompress(data[len(_MAGIC) :])
            if not stream.eof:
                return None
            found = (found or {}) | _record(text)
            data = stream.unused_data
    except (zlib.error, struct.error, ValueError, TypeError, AttributeError):
        return None
    return found


def _record(text: bytes) -> Originals:
    end = _LENGTH.size + _LENGTH.unpack_from(text)[0]
    names: dict[str, list[tuple[str, list[str]]]] = json.loads(text[_LENGTH.size : end])
    paths = [(key, folder + name) for key, runs in names.items() for folder, files in runs for name in files]
    columns = []
    for kind in _COLUMNS:
        columns.append(struct.unpack_from(f"<{len(paths)}{kind}", text, end))
        end += struct.calcsize(f"<{len(paths)}{kind}")
    found: Originals = {key: {} for key in names}
    for (key, path), row in zip(paths, zip(*columns, strict=True), strict=True):
        found[key][path] = Original(*row)
    return found


def _by_folder(paths: Mapping[str, Original]) -> list[tuple[str, list[str]]]:
    """Return the paths in their order, the folder named once for each run of files in it."""
    runs: list[tuple[str, list[str]]] = []
    for path in paths:
        above, slash, name = path.removesuffix("/").rpartition("/")
        folder = above + slash
        if path.endswith("/"):
            name += "/"
        if not runs or runs[-1][0] != folder:
            runs.append((folder, []))
        runs[-1][1].append(name)
    return runs
