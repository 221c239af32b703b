"""Gathering facts about a distribution's files: one stat for each file, no content is read."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.importable import is_importable
from pipm.core.plan.adopt_plan import OWNER_WRITES, FileFact
from pipm.core.record import RecordPlace, entry_path, is_bytecode
from pipm.fs.beneath import directory_beneath, open_directory_beneath
from pipm.fs.file_content import is_program
from pipm.fs.xattrs import has_attributes_in
from pipm.store.objects import find_object, is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipm.core.digest import Digest
    from pipm.core.record import Location, RecordRow
    from pipm.env.installed import InstalledDistribution
    from pipm.store.known import KnownFiles, Releases
    from pipm.store.layout import Store

_EXECUTABLE = 0o100


@dataclass(frozen=True, kw_only=True, slots=True)
class FactGatherer:
    """Gathers facts about the files of one environment.

    ``root`` is the open folder of the environment. ``trusted`` is true if an earlier run finished; then a
    file with the recorded time and size counts as shared without reading the store. With ``by_inode`` a
    shared file has the object's inode. With ``programs`` the link mode can share programs in ``bin``.
    ``entries`` are the entries of an earlier run, by name and version. ``seen_ns`` is the time when that run
    ended: an inode that changed later may have new attributes.
    """

    root: int
    store: Store | None
    releases: Releases
    trusted: bool
    by_inode: bool
    contested: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    entries: Mapping[tuple[str, str], str] = field(default_factory=dict)
    seen_ns: int = 0
    programs: bool = True

    def folders(
        self, distribution: InstalledDistribution
    ) -> Iterator[tuple[int | None, str, list[FileFact]]]:
        """Yield for each folder the open folder (None if missing), its path, and facts about its files."""
        folders: dict[str, dict[str, tuple[RecordRow, Location]]] = {}
        site = distribution.site
        for row, location in distribution.located:
            place, path = location
            if place is RecordPlace.SITE:
                if is_bytecode(path):  # it is handled with its source
                    continue
                directory, slash, name = path.rpartition("/")
                directory = f"{site}/{directory}" if slash else site
            elif place is RecordPlace.OUTSIDE:
                directory, name = "", row.path
            else:
                directory, _, name = path.rpartition("/")
            files = folders.get(directory)
            if files is None:
                files = folders[directory] = {}
            files[name] = (row, location)
        known = self.known(distribution)
        for directory, files in folders.items():
            readable = True
            with directory_beneath(self.root, directory) as folder:
                if folder is None:
                    readable = not self._is_closed(directory)
                facts = [
                    self._fact(distribution, directory, name, row, location, folder, known, readable)
                    for name, (row, location) in files.items()
                ]
                yield folder, directory, [fact for fact in facts if not _is_virtualenvs(fact)]

    def known(self, distribution: InstalledDistribution) -> KnownFiles:
        """Return the files that the store's manifests list for the release."""
        release = (distribution.name, distribution.version)
        return self.releases.known(*release, self.entries.get(release, ""))

    def _fact(  # noqa: PLR0913, PLR0917 - called once for each file; positional arguments are faster
        self,
        distribution: InstalledDistribution,
        directory: str,
        name: str,
        row: RecordRow,
        location: Location,
        folder: int | None,
        known: KnownFiles,
        readable: bool,  # noqa: FBT001
    ) -> FileFact:
        place, path = location
        status = None
        linked = False
        if folder is not None and place is not RecordPlace.OUTSIDE:
            status = _status(folder, name)
            if status is not None and stat.S_ISLNK(status.st_mode) and self._leads_to_store(folder, name):
                status, linked = _status(folder, name, follow=True), True
        digest, size, has_record_digest = row.digest, row.size, True
        stored_row = known.entry(entry_path(place, path))
        if digest is None:
            has_record_digest = False
            if stored_row is not None:
                digest, size = stored_row.digest, stored_row.size
        mode = 0 if status is None else status.st_mode
        executable = mode & _EXECUTABLE != 0
        writable = self._is_writable(distribution, location, mode)
        if not self.by_inode and stored_row is not None and stored_row.digest == digest:
            writable = stored_row.writable  # the file keeps its mode: any object is right
        object_name, stored, sound, says_shared, recorded = "", None, False, linked, None
        if status is not None and digest is not None:
            object_name = digest.object_name(executable=executable, writable=writable)
            recorded = known.object_time(digest, executable=executable, writable=writable)
            says_shared = linked or self._says_shared(status, size, known.content_time(digest))
            marked = folder is not None and self._is_marked(folder, name, status)
            if self.store is not None and (marked or not says_shared):
                says_shared, stored = False, find_object(self.store.objects, object_name)
                sound = not marked and _is_sound(stored, known, digest, (executable, writable))
        site = distribution.site if place is RecordPlace.SITE else ""
        contested = bool(self.contested) and (site, path) in self.contested
        return FileFact(
            directory,
            name,
            place,
            path,
            status,
            executable,
            writable,
            digest,
            size,
            has_record_digest,
            recorded,
            object_name,
            stored,
            sound,
            says_shared,
            contested,
            readable,
            self._is_program(place, status, folder, name),
        )

    def _is_program(
        self, place: RecordPlace, status: os.stat_result | None, folder: int | None, name: str
    ) -> bool:
        """Return whether a file is a machine program in ``bin``: installers write no path into it."""
        if not self.programs or place is not RecordPlace.SCRIPT or status is None or folder is None:
            return False
        return stat.S_ISREG(status.st_mode) and is_program(name, folder)

    @staticmethod
    def _is_writable(distribution: InstalledDistribution, location: Location, mode: int) -> bool:
        """Return whether the file shares the owner-writable object: data that its owner may write to."""
        importable = location.place is RecordPlace.SITE and is_importable(
            location.path, distribution.packages
        )
        return mode & OWNER_WRITES != 0 and not importable

    def _says_shared(self, status: os.stat_result, size: int | None, mtime_ns: int | None) -> bool:
        return (
            self.trusted
            and (status.st_mtime_ns, status.st_size) == (mtime_ns, size)
            and (status.st_nlink > 1 or not self.by_inode)
        )

    def _is_marked(self, folder: int, name: str, status: os.stat_result) -> bool:
        """Return whether an inode that may be the store's has new attributes, common to all its names."""
        changed = status.st_nlink > 1 and 0 < self.seen_ns < status.st_ctime_ns
        return self.by_inode and changed and has_attributes_in(folder, name)

    def _is_closed(self, directory: str) -> bool:
        """Return True if a folder exists but access is denied."""
        try:
            os.close(open_directory_beneath(self.root, directory))
        except OSError as error:
            return error.errno == errno.EACCES
        return False

    def _leads_to_store(self, folder: int, name: str) -> bool:
        """Return True if the symlink *name* points into the store."""
        return self.store is not None and os.readlink(name, dir_fd=folder).startswith(
            f"{self.store.path}/v1/"
        )


def _is_sound(
    stored: os.stat_result | None, known: KnownFiles, digest: Digest, kind: tuple[bool, bool]
) -> bool:
    """Return whether an object of *kind* (executable, writable) has the time that a manifest records."""
    if stored is None or not is_trusted(stored):
        return False
    executable, writable = kind
    return known.has_time(digest, stored.st_mtime_ns, executable=executable, writable=writable)


def _is_virtualenvs(fact: FileFact) -> bool:
    """Return True for a row of virtualenv's that is no file of a distribution.

    It lists folders, even missing ones, and bytecode beside its source, where there is none.
    """
    if fact.status is None:
        return fact.digest is None and fact.name.endswith((".pyc", "__pycache__"))
    return stat.S_ISDIR(fact.status.st_mode)


def _status(folder: int, name: str, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=follow)
    except OSError:
        return None
