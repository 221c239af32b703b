"""The files of an entry in the order in which they are put into an environment.

An install plan is computed from a manifest and its entry points: folder after folder, with the rows of
RECORD. The store keeps it beside the manifest, and computes a missing one again.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict

from pipm.core.bytecode import bytecode_key, header_time
from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.core.manifest import FileEntry, Manifest
    from pipm.core.scheme import Scheme

KEPT_METADATA = frozenset({"METADATA", "WHEEL", "entry_points.txt"})
"""Metadata files that tools read from the disk themselves; the finder serves the others from the store."""
OUTDATED = "-nspkg.pth"
"""Path files of old setuptools: without the modules beside them they print an error at every start."""


class PlanFolder(NamedTuple):
    """The files of one folder: those that are shared with sizes (bytes) and times (ns), and empty ones.

    ``path`` is relative to site-packages, empty for itself. ``empty`` are (name, time, whether it is
    executable), ``sources`` the Python modules, as (name without ``.py``, name of the bytecode in the store).
    """

    path: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    times: tuple[int, ...]
    empty: tuple[tuple[str, int, bool], ...]
    sources: tuple[tuple[str, str], ...]


class DataFile(NamedTuple):
    """A file of another scheme than site-packages; ``path`` is relative to that scheme's folder."""

    scheme: str
    path: str
    size: int
    mtime_ns: int
    executable: bool
    record: str


class InstallPlan(NamedTuple):
    """One entry, ready to be materialised.

    ``metadata`` names the dist-info folder; ``metadata_folders`` are that folder and those below it,
    ``folders`` all others. Both include the folders above them. ``copies`` are files of site-packages that
    each environment has for itself, as (name, size, time). ``data_files`` lie outside of site-packages.
    ``record`` are RECORD's rows of all files in site-packages; ``scripts`` are the entry points, as
    (name, what follows the ``#!`` line).
    """

    name: str
    version: str
    metadata: str
    metadata_folders: tuple[PlanFolder, ...]
    folders: tuple[PlanFolder, ...]
    copies: tuple[tuple[str, int, int], ...]
    data_files: tuple[DataFile, ...]
    record: bytes
    scripts: tuple[tuple[str, bytes], ...]


def install_plan_of(manifest: Manifest, scripts: tuple[tuple[str, bytes], ...]) -> InstallPlan:
    """Sort the files of *manifest*; raise ValueError if it has no metadata folder."""
    files: defaultdict[str, list[FileEntry]] = defaultdict(list)
    copies, data_files, rows = [], [], []
    for entry in manifest.files:
        scheme, _, path = entry.path.partition("/")
        if scheme != "site":
            data_files.append(
                DataFile(scheme, path, entry.size, entry.mtime_ns, entry.executable, entry.digest.record)
            )
            continue
        rows.append((path, entry.digest.record, entry.size))
        folder, _, name = path.rpartition("/")
        if not folder and is_start_up_file(name):
            copies.append((name, entry.size, entry.mtime_ns))
        else:
            files[folder].append(entry)
    metadata = _metadata_folder(files)
    for folder in list(files):
        while folder:
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 - climbs up
            files.setdefault(folder, [])
    inside = f"{metadata}/"
    ordered = [_folder(path, files[path]) for path in sorted(files, key=lambda path: path.split("/"))]
    return InstallPlan(
        name=manifest.name,
        version=manifest.version,
        metadata=metadata,
        metadata_folders=tuple(folder for folder in ordered if f"{folder.path}/".startswith(inside)),
        folders=tuple(folder for folder in ordered if not f"{folder.path}/".startswith(inside)),
        copies=tuple(copies),
        data_files=tuple(data_files),
        record=record_rows(sorted(rows, key=lambda row: (row[0].startswith(inside), row[0]))),
        scripts=scripts,
    )


def without_modules(install_plan: InstallPlan) -> InstallPlan:
    """Return the plan without modules, for a distribution that the finder serves."""
    first = install_plan.metadata_folders[0]
    rows = [row for row in zip(first.names, first.sizes, first.times, strict=True) if row[0] in KEPT_METADATA]
    names, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
    metadata = first._replace(names=names, sizes=sizes, times=times, empty=())
    copies = tuple(row for row in install_plan.copies if not row[0].endswith(OUTDATED))
    return install_plan._replace(folders=(), metadata_folders=(metadata,), copies=copies)


def scheme_path(other: DataFile, name: str, scheme: Scheme) -> str:
    """Return the path of a data file, relative to the environment."""
    folder = scheme.folder(other.scheme, name)
    return f"{folder}/{other.path}" if folder else other.path


def is_start_up_file(name: str) -> bool:
    """Return whether the file *name* at the top of site-packages acts at start-up: it is never shared."""
    return name.endswith(".pth") or name.startswith("_virtualenv")


def record_rows(rows: Iterable[tuple[str, str, int | str]]) -> bytes:
    """Write (path, hash, size) as RECORD does."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _metadata_folder(folders: Iterable[str]) -> str:
    found = {folder for folder in folders if folder.endswith(".dist-info") and "/" not in folder}
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} dist-info folders")
    return found.pop()


def _folder(path: str, files: list[FileEntry]) -> PlanFolder:
    full = [entry for entry in files if entry.size]
    names = [entry.path.rpartition("/")[2] for entry in full]
    return PlanFolder(
        path=path,
        names=tuple(names),
        sizes=tuple(entry.size for entry in full),
        times=tuple(entry.mtime_ns for entry in full),
        empty=tuple(
            (entry.path.rpartition("/")[2], entry.mtime_ns, entry.executable)
            for entry in files
            if not entry.size
        ),
        sources=tuple(
            (entry.path.rpartition("/")[2][:-3], bytecode_key(entry.digest, header_time(entry.mtime_ns)))
            for entry in files
            if entry.path.endswith(".py")
        ),
    )
