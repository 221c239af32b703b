"""RECORD files (PEP 376, PEP 427), with the unusual rows that tools write.

`installer.records` reads what the specification allows. Environments also have rows without hash (PDM), other
algorithms, CRLF, bytes that are no UTF-8, and absolute paths. Nothing is refused here: a row is a hint about
a path and its content, and both are checked.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from enum import Enum

from pipm.core.digest import Digest
from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTECODE_NAME = re.compile(r"(.+)\.(?!opt-)\w+(?:-\w+)*(?:\.opt-\w+)?\.pyc")
_INSTALLERS_OWN = frozenset(
    {
        "RECORD",
        "RECORD.jws",
        "RECORD.p7s",
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
        "uv_cache.json",
        "uv_build.json",
        "PDM_INSTALLER",
        "REFER_TO",
    }
)


_MOST_DIGITS = 19
"""The most digits of a file's size; Python refuses to read numbers with thousands of digits."""


class RecordRow(NamedTuple):
    """One row: path as written, RECORD's spelling of the hash (may be empty), size or None."""

    path: str
    hash: str
    size: int | None

    @property
    def digest(self) -> Digest | None:
        """The recorded sha256; None if there is none, or only one of another algorithm."""
        return Digest.from_record(self.hash)


def parse_record(data: bytes) -> Iterator[RecordRow]:
    """Yield the rows of a RECORD file; empty lines and empty paths are passed over."""
    # surrogateescape is how Python names files whose names are no UTF-8: the path still opens.
    text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    csv.field_size_limit(max(csv.field_size_limit(), len(data)))  # else a long name is an error
    for row in csv.reader(text):
        if row and row[0]:
            known = len(row) > 2 and row[2].isdecimal() and len(row[2]) <= _MOST_DIGITS
            size = int(row[2]) if known else None
            yield RecordRow(row[0], row[1] if len(row) > 1 else "", size)


def is_bytecode(path: str) -> bool:
    """Return whether *path* is a cached ``.pyc`` (PEP 3147), which no wheel brings."""
    return path.endswith(".pyc") and (path.startswith("__pycache__/") or "/__pycache__/" in path)


def source_of_bytecode(name: str) -> str | None:
    """Return the source that a file in ``__pycache__`` is named for (PEP 3147, 488); a name may have dots."""
    found = _BYTECODE_NAME.fullmatch(name)
    return None if found is None else f"{found[1]}.py"


def is_installers_own(path: str) -> bool:
    """Return whether the installer writes *path* (in site-packages), so that it is not from the wheel."""
    if ".dist-info/" not in path:
        return False
    folder, _, name = path.partition("/")
    return folder.endswith(".dist-info") and name in _INSTALLERS_OWN


class RecordPlace(Enum):
    """The part of an environment that a RECORD row names."""

    SITE = "site"
    HEADERS = "headers"
    DATA = "data"
    SCRIPT = "scripts"
    CONFIGURATION = "configuration"
    OUTSIDE = "outside"


class Location(NamedTuple):
    """A place and the path in it: site-packages for SITE, else the environment's root."""

    place: RecordPlace
    path: str


_ODD = re.compile(r"^[./]|/[./]|\\|\0")
"""Parts of unusual paths: dots or slashes at the beginning of a component, backslashes, NUL."""


def locate(path: str, site: str) -> Location:
    """Locate the RECORD path *path*; *site* is the path of site-packages in the environment.

    Nothing is resolved on disk: the caller opens the path beneath its root without following links.
    """
    if _ODD.search(path) is None:
        return Location(RecordPlace.SITE, path)
    if "\0" in path or "\\" in path or path.startswith("/"):
        return Location(RecordPlace.OUTSIDE, path)
    resolved = posixpath.normpath(f"{site}/{path}")
    if resolved.startswith(("../", "/")) or resolved in ("..", "."):
        return Location(RecordPlace.OUTSIDE, path)
    if resolved.startswith(f"{site}/"):
        return Location(RecordPlace.SITE, resolved[len(site) + 1 :])
    return Location(_place_in_prefix(resolved), resolved)


_HEADERS = re.compile(r"include/site/[^/]+/[^/]+/")
"""Matches the folder of a wheel's headers: it contains the Python version and the distribution's name."""


def entry_path(place: RecordPlace, path: str) -> str:
    """Return the path in a wheel's entry, scheme first, of the file at *path* of *place*."""
    match place:
        case RecordPlace.HEADERS:
            path = _HEADERS.sub("", path)
        case RecordPlace.SCRIPT:
            path = path.rpartition("/")[2]
    return f"{place.value}/{path}"


def _place_in_prefix(path: str) -> RecordPlace:
    top, _, rest = path.partition("/")
    if top in ("bin", "Scripts"):
        return RecordPlace.SCRIPT
    if top == "etc":
        return RecordPlace.CONFIGURATION
    if _HEADERS.match(path):
        return RecordPlace.HEADERS
    if not rest or top in ("lib", "lib64", "Lib"):
        return RecordPlace.OUTSIDE
    return RecordPlace.DATA
