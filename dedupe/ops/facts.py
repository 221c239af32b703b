"""Gathering what is known of a distribution's files: one stat a file, no content is read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dedupe.core.record import Place, is_installers_own
from dedupe.env.installed import place_in_environment
from dedupe.fs.beneath import directory_beneath
from dedupe.plan.adopt import FileFact, wanted_row
from dedupe.store.objects import find_object, is_sound
from dedupe.store.wheels import entry_names, load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupe.core.digest import Digest
    from dedupe.core.record import Location, RecordRow
    from dedupe.env.installed import InstalledDistribution
    from dedupe.store.layout import Store

    Hints = dict[str, tuple[Digest, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Looks at the files of one environment.

    ``root`` is the open folder of the environment; ``trusted`` says that a finished run of this store
    stands behind it, so that a time that says "shared" needs no look at the store.
    """

    root: int
    store: Store | None
    trusted: bool
    by_inode: bool
    contested: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def folders(self, distribution: InstalledDistribution) -> Iterator[tuple[str, list[FileFact]]]:
        """Yield the distribution's files folder by folder, each once."""
        folders: dict[str, dict[str, tuple[RecordRow, Location]]] = {}
        hashless = False
        for row, location in distribution.located():
            if not wanted_row(row, location):
                continue
            if location.place is Place.OUTSIDE:
                directory, name = "", row.path
            else:
                path = place_in_environment(distribution, location)
                directory, _, name = path.rpartition("/")
                hashless = hashless or not (row.hash or is_installers_own(row.path))
            folders.setdefault(directory, {})[name] = (row, location)
        hints = self._hints(distribution) if hashless else {}
        for directory, files in folders.items():
            yield directory, self._facts(distribution, directory, files, hints)

    def _facts(
        self,
        distribution: InstalledDistribution,
        directory: str,
        files: dict[str, tuple[RecordRow, Location]],
        hints: Hints,
    ) -> list[FileFact]:
        with directory_beneath(self.root, directory) as folder:
            return [
                self._fact(
                    directory,
                    name,
                    row,
                    location,
                    None if folder is None else _status(folder, name),
                    hints,
                    contested=bool(self.contested) and (distribution.site, row.path) in self.contested,
                )
                for name, (row, location) in files.items()
            ]

    def _fact(  # noqa: PLR0913 - one row and what is around it
        self,
        directory: str,
        name: str,
        row: RecordRow,
        location: Location,
        status: os.stat_result | None,
        hints: Hints,
        *,
        contested: bool,
    ) -> FileFact:
        digest, size, promised = row.digest, row.size, True
        if digest is None:
            promised = False
            digest, size = hints.get(f"{location.place.value}/{location.path}", (None, None))
        stored, sound = None, False
        if status is not None and digest is not None and self.store is not None:
            seconds = digest.mtime * 1_000_000_000
            trusted = self.trusted and status.st_mtime_ns == seconds and status.st_size == size
            if not trusted or (self.by_inode and status.st_nlink == 1):
                executable = bool(status.st_mode & stat.S_IXUSR)
                stored = find_object(self.store.objects, digest.object_name(executable=executable))
                sound = stored is not None and is_sound(stored, digest)
        # By position: keywords would cost a third of the whole look at an environment.
        return FileFact(
            directory,
            name,
            location.place,
            location.path,
            status,
            digest,
            size,
            promised,
            stored,
            sound,
            contested,
        )

    def _hints(self, distribution: InstalledDistribution) -> Hints:
        """What the store knows of this release, for rows without hash (PDM writes such)."""
        hints: Hints = {}
        if self.store is not None:
            for entry in entry_names(self.store, distribution.name, distribution.version):
                for path, digest, size, _ in load_manifest(self.store, entry).files:
                    hints.setdefault(path, (digest, size))
        return hints


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
