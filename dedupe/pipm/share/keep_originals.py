"""Recording modes and times of files before an adoption shares them, so that a release can restore them.

All files that the adoption may share are recorded before the first one changes. A file that is already the
store's (an earlier adoption shared it, or sync installed it) is no original: its earlier record stays.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.digest import EMPTY, Digest
from pipm.core.originals import Original, originals_bytes
from pipm.core.record import RecordPlace, source_of_bytecode
from pipm.env.installed import place_in_environment
from pipm.fs.beneath import directory_beneath
from pipm.store.objects import find_object
from pipm.store.stored_originals import read_originals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.context.workers import SharedState
    from pipm.core.originals import Originals
    from pipm.env.installed import InstalledDistribution
    from pipm.share.adopt_job import AdoptJob
    from pipm.store.known import Releases
    from pipm.store.layout import Store

_CACHE = "__pycache__"
_WRITABLE = 0o222
Row = str
"""A row of RECORD as text; empty for bytecode, which has none."""


class OriginalsReader:
    """Reads the originals of the job's distributions; ``kept`` is the record of all other distributions."""

    def __init__(self, store: Store, job: AdoptJob) -> None:
        locked = job.locked
        self._store, self._root, self._left = store, locked.root, job.left
        self._anew = locked.previous is None
        self._before = job.originals
        self._known = read_originals(store, locked.environment.path) or {}
        present = {metadata_path(distribution) for distribution in locked.distributions}
        looked_at = {metadata_path(one) for one in job.left if one.refusal is None}
        kept = {key: paths for key, paths in self._known.items() if key in present - looked_at}
        self.kept = originals_bytes(kept)

    def read(self, number: int, releases: Releases) -> Originals:
        """Return the originals of one distribution in ``left``; empty if it is not to be shared."""
        distribution = self._left[number]
        if distribution.refusal is not None:
            return {}
        key = metadata_path(distribution)
        name, version = distribution.name, distribution.version
        empty = frozenset[int]() if self._anew else releases.known(name, version).empty_times
        known = self._known.get(key, {})
        reader = _DistributionReader(self._store, self._root, known, empty, anew=self._anew)
        return {key: reader.read(distribution) | self._before.get(key, {})}


class OriginalsShare(NamedTuple):
    """One worker's share of the reading: the readers of all environments, and its turns."""

    readers: Sequence[OriginalsReader]
    turns: Sequence[Sequence[tuple[int, int]]]
    releases: Releases
    shared_state: SharedState

    def read(self) -> list[bytes]:
        """Read the files; return a record for each environment."""
        found: list[Originals] = [{} for _ in self.readers]
        for turn in self.turns:
            for one, number in turn:
                self.shared_state.check()
                found[one] |= self.readers[one].read(number, self.releases)
        return [originals_bytes(one) for one in found]


def metadata_path(distribution: InstalledDistribution) -> str:
    """Return the metadata folder of a distribution, relative to the environment."""
    return f"{distribution.site}/{distribution.metadata}"


def folders_of(distribution: InstalledDistribution) -> dict[str, dict[str, Row]]:
    """Return the rows of RECORD by folder (relative to the environment) and file name."""
    folders: dict[str, dict[str, Row]] = {}
    for path, row in _rows(distribution):
        folder, _, name = path.rpartition("/")
        rows = folders.get(folder)
        if rows is None:
            rows = folders[folder] = {}
        rows[name] = row
    return folders


def _rows(distribution: InstalledDistribution) -> Iterator[tuple[str, Row]]:
    if distribution.odd:
        for row, location in distribution.located:
            if location.place is not RecordPlace.OUTSIDE:
                yield place_in_environment(distribution, location), f",{row.hash},"
        return
    site = f"{distribution.site}/"
    for line in os.fsdecode(distribution.record.replace(b"\r", b"\n")).split("\n"):
        path = line.partition(",")[0]
        if path.startswith("../"):
            path = posixpath.normpath(site + path)
            if not path.startswith("../"):
                yield path, line
        elif path and path[0] != "/":
            yield site + path, line


def object_names(digest: Digest, status: os.stat_result) -> list[str]:
    """Return the names of objects that a file with this content and *status* may share."""
    executable = bool(status.st_mode & stat.S_IXUSR)
    return [digest.object_name(executable=executable, writable=writable) for writable in (False, True)]


class _DistributionReader:
    """Reads the originals of one distribution; *known* are those of an earlier record.

    *empty* are the times (ns) that empty files of its release have in the store's manifests.

    With *anew* the store does not know the environment; then only read-only files may be the store's.
    """

    def __init__(
        self, store: Store, root: int, known: dict[str, Original], empty: frozenset[int], *, anew: bool
    ) -> None:
        self._store, self._root, self._known, self._anew = store, root, known, anew
        self._empty = empty
        self._found: dict[str, Original] = {}

    def read(self, distribution: InstalledDistribution) -> dict[str, Original]:
        """Return the originals of the distribution's folders and files, with the bytecode of its sources."""
        folders = folders_of(distribution)
        with directory_beneath(self._root, distribution.site) as site:
            if site is not None:
                self._note_folder(f"{distribution.site}/", site)
        for folder, rows in folders.items():
            if folder.endswith(f"/{_CACHE}") and folder.removesuffix(f"/{_CACHE}") in folders:
                continue  # its files are read with their sources
            self._folder(folder, rows)
        return self._found

    def _folder(self, folder: str, rows: dict[str, Row]) -> None:
        prefix = f"{folder}/" if folder else ""
        with directory_beneath(self._root, folder) as descriptor:
            if descriptor is None:
                return
            self._note_folder(prefix, descriptor)
            for name, row in rows.items():  # one stat for each name: a listing takes as long as seven
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except (OSError, ValueError):  # the file is missing, or no file can have the name
                    continue
                self._note(prefix + name, status, row)
            if any(name.endswith(".py") for name in rows):
                self._bytecode(descriptor, f"{prefix}{_CACHE}/", rows)

    def _bytecode(self, folder: int, prefix: str, rows: dict[str, Row]) -> None:
        with directory_beneath(folder, _CACHE) as cache:
            if cache is None:
                return
            self._note_folder(prefix, cache)
            with os.scandir(cache) as entries:
                for entry in entries:
                    name = entry.name
                    if f"{name.partition('.')[0]}.py" in rows or source_of_bytecode(name) in rows:
                        self._note(prefix + name, entry.stat(follow_symlinks=False), "")

    def _note_folder(self, path: str, folder: int) -> None:
        earlier = self._known.get(path)
        if earlier is not None:
            self._found[path] = earlier
            return
        status = os.fstat(folder)
        self._found[path] = Original(stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime_ns)

    def _note(self, path: str, status: os.stat_result, row: Row) -> None:
        mode = status.st_mode
        if not stat.S_ISREG(mode) or (self._may_be_stored(mode) and self._is_stored(path, status, row)):
            if path in self._known:
                self._found[path] = self._known[path]
        else:
            self._found[path] = Original(mode & 0o7777, status.st_gid, status.st_mtime_ns)

    def _may_be_stored(self, mode: int) -> bool:
        return not self._anew or not mode & _WRITABLE

    def _is_stored(self, path: str, status: os.stat_result, row: Row) -> bool:
        """Return whether a file is the store's, or got its time when it was shared."""
        digest = _digest(row)
        if digest is None:
            # Bytecode of the store is read-only; bytecode that Python writes is not. For other files
            # without a hash an earlier record counts.
            return not status.st_mode & _WRITABLE
        if digest == EMPTY:  # it has no object, but the time in the manifest, if the store has one
            return status.st_mtime_ns in self._empty if self._empty else path in self._known
        stored = (find_object(self._store.objects, name) for name in object_names(digest, status))
        return any(one is not None and one.st_mtime_ns == status.st_mtime_ns for one in stored)


def _digest(row: Row) -> Digest | None:
    start = row.find(",sha256=") + 1
    return Digest.from_record(row[start : start + 50]) if start else None
