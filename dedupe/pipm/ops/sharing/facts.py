"""Gathering what is known of a distribution's files: one stat a file, no content is read."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.record import Place, entry_path, is_bytecode, is_installers_own
from pipm.fs.beneath import directory_beneath, open_directory_beneath
from pipm.plan.adopt import FileFact
from pipm.store.objects import find_object, is_sound
from pipm.store.wheels import entry_names, load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.digest import Digest
    from pipm.core.record import Location, RecordRow
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store

    Hints = dict[str, tuple[Digest, int]]

_EXECUTABLE = 0o100


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Looks at the files of one environment.

    ``root`` is the open folder of the environment; ``trusted`` says that a finished run of this store
    stands behind it, so that a time that says "shared" needs no look at the store. ``by_inode``: shared
    means one inode.
    """

    root: int
    store: Store | None
    trusted: bool
    by_inode: bool
    contested: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def folders(
        self, distribution: InstalledDistribution
    ) -> Iterator[tuple[int | None, str, list[FileFact]]]:
        """Yield the distribution's files folder by folder, with the open folder (None: not there)."""
        folders: dict[str, dict[str, tuple[RecordRow, Location]]] = {}
        hashless = False
        site = distribution.site
        for row, location in distribution.located:
            place, path = location
            if place is Place.SITE:
                if is_bytecode(path):  # planned with its source
                    continue
                directory, slash, name = path.rpartition("/")
                directory = f"{site}/{directory}" if slash else site
            elif place is Place.OUTSIDE:
                directory, name = "", row.path
            else:
                directory, _, name = path.rpartition("/")
            if not row.hash and not hashless:
                hashless = not is_installers_own(path)
            files = folders.get(directory)
            if files is None:
                files = folders[directory] = {}
            files[name] = (row, location)
        hints = self._hints(distribution) if hashless else {}
        for directory, files in folders.items():
            readable = True
            with directory_beneath(self.root, directory) as folder:
                if folder is None:
                    readable = not self._is_closed(directory)
                facts = [
                    self._fact(distribution.site, directory, name, row, location, folder, hints, readable)
                    for name, (row, location) in files.items()
                ]
                # Some tools (virtualenv) name folders in RECORD; those are nobody's files.
                yield folder, directory, [fact for fact in facts if not _is_folder(fact)]

    def _fact(  # noqa: PLR0913, PLR0917 - one row and what is around it; positions are faster
        self,
        site: str,
        directory: str,
        name: str,
        row: RecordRow,
        location: Location,
        folder: int | None,
        hints: Hints,
        readable: bool,  # noqa: FBT001
    ) -> FileFact:
        place, path = location
        status = None
        linked = False
        if folder is not None and place is not Place.OUTSIDE:
            status = _status(folder, name)
            if status is not None and stat.S_ISLNK(status.st_mode) and self._leads_to_store(folder, name):
                status, linked = _status(folder, name, follow=True), True
        digest, size, promised = row.digest, row.size, True
        if digest is None:
            promised = False
            digest, size = hints.get(entry_path(place, path), (None, None))
        executable = status is not None and status.st_mode & _EXECUTABLE != 0
        object_name, stored, sound, says_shared = "", None, False, False
        if status is not None and digest is not None:
            object_name = digest.object_name(executable=executable)
            says_shared = linked or (
                self.trusted
                and status.st_mtime_ns == digest.mtime_ns
                and status.st_size == size
                and (status.st_nlink > 1 or not self.by_inode)
            )
            if self.store is not None and not says_shared:
                stored = find_object(self.store.objects, object_name)
                sound = stored is not None and is_sound(stored, digest)
        contested = bool(self.contested) and (site if place is Place.SITE else "", path) in self.contested
        return FileFact(
            directory,
            name,
            place,
            path,
            status,
            executable,
            digest,
            size,
            promised,
            object_name,
            stored,
            sound,
            says_shared,
            contested,
            readable,
        )

    def _is_closed(self, directory: str) -> bool:
        """Whether a folder is there, but not for us."""
        try:
            os.close(open_directory_beneath(self.root, directory))
        except OSError as error:
            return error.errno == errno.EACCES
        return False

    def _leads_to_store(self, folder: int, name: str) -> bool:
        """Whether the symlink *name* is one of ours."""
        return self.store is not None and os.readlink(name, dir_fd=folder).startswith(
            f"{self.store.path}/v1/"
        )

    def _hints(self, distribution: InstalledDistribution) -> Hints:
        """What the store knows of this release, for rows without hash (PDM writes such)."""
        hints: Hints = {}
        if self.store is not None:
            for entry in entry_names(self.store, distribution.name, distribution.version):
                for path, digest, size, _ in load_manifest(self.store, entry).files:
                    hints.setdefault(path, (digest, size))
        return hints


def _is_folder(fact: FileFact) -> bool:
    return fact.status is not None and stat.S_ISDIR(fact.status.st_mode)


def _status(folder: int, name: str, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=follow)
    except OSError:
        return None
