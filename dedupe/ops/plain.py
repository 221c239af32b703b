"""Sharing plain files by hard links: what nearly all files are, in half the time.

A file of a package that RECORD names in the ordinary way is opened, found to be what RECORD says, and
linked, with the steps and the guards of `apply` and `fs.share` but without facts, plan and actions made
first. Whatever is unusual about a file leaves it untouched here, for the way through `decide`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from dedupe.core.digest import Digest
from dedupe.core.manifest import FileEntry
from dedupe.env.installed import has_odd_paths
from dedupe.fs.beneath import directory_beneath
from dedupe.fs.content import prefetch
from dedupe.fs.faults import stops_everything
from dedupe.fs.lease import Lease, take_read_lease
from dedupe.fs.share import Guarded, LeaveAloneError, give_inode, same_folder_time
from dedupe.fs.xattrs import has_attributes
from dedupe.ops.bytecode import Source
from dedupe.store.layers import open_layers
from dedupe.store.objects import Rooms, is_sound, object_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupe.env.installed import InstalledDistribution
    from dedupe.fs.replace import Staging
    from dedupe.ops.scene import Scene
    from dedupe.ops.tally import Tally

_PLAIN_ROW = re.compile(
    rb"((?!\.\.?/)[^,\"]*(?<!\.dist-info))/([^,/\"]+),sha256=([A-Za-z0-9_-]{43}),(\d{1,18})"
)
"""A file in a package, with its hash: folder, name, digest, size in bytes."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST = 1 << 20
_EXECUTABLE = 0o100
NOT_PLAIN = 0o170000 | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""The bits of a mode of which a plain file has S_IFREG alone."""


class PlainRow(NamedTuple):
    """What RECORD says of a plain file: its name, digest and size, and the row itself."""

    name: str
    digest: Digest
    size: int
    row: bytes


def plain_rows(distribution: InstalledDistribution) -> tuple[dict[str, list[PlainRow]], bytes]:
    """The plain rows of RECORD by folder (relative to the environment), and all other rows.

    Rows of bytecode without hash are in neither: bytecode is looked at with its source.
    """
    if has_odd_paths(distribution.record):
        return {}, distribution.record
    rest: list[bytes] = []
    folders: dict[bytes, dict[bytes, PlainRow]] = {}
    for line in distribution.record.splitlines():
        found = _PLAIN_ROW.fullmatch(line)
        if found is not None:
            folder, name, digest, size = found.groups()
            row = PlainRow(os.fsdecode(name), Digest.from_urlsafe(digest), int(size), line)
            folders.setdefault(folder, {})[name] = row
        elif not line.endswith(b".pyc,,"):
            rest.append(line)
    named = {
        f"{distribution.site}/{os.fsdecode(folder)}": list(rows.values()) for folder, rows in folders.items()
    }
    return named, b"\n".join(rest)


class PlainSharer:
    """Shares plain files of one environment by hard links, counting in *tally*."""

    def __init__(self, scene: Scene, staging: Staging, tally: Tally) -> None:
        self._scene = scene
        self._staging = staging
        self._tally = tally
        self._objects = scene.store.objects
        self._layered = bool(open_layers(scene.store.path))
        self._rooms = Rooms(scene.store.objects)
        self.files: list[FileEntry] = []
        self.sources: list[Source] = []
        self._site = 0

    def share(self, distribution: InstalledDistribution) -> bytes:
        """Share the plain files of a distribution; returns the rows of RECORD that are left to do.

        ``files`` and ``sources`` are then what was shared, new to the store or not.
        """
        self.files, self.sources = [], []
        self._site = len(distribution.site) + 1
        folders, rest = plain_rows(distribution)
        left = [rest]
        for directory, rows in folders.items():
            with directory_beneath(self._scene.root, directory) as folder:
                if folder is None:
                    left += [row.row for row in rows]
                else:
                    self._prefetch(folder, rows)
                    with same_folder_time(folder):
                        left += self._folder(directory, folder, rows)
        return b"\n".join(left)

    def _prefetch(self, folder: int, rows: list[PlainRow]) -> None:
        if prefetch(folder, [row.name for row in rows]):
            prefetch(self._objects, [row.digest.object_name(executable=False) for row in rows])

    def _folder(self, directory: str, folder: int, rows: list[PlainRow]) -> Iterator[bytes]:
        """Share the files of one folder; yields the rows of those that are left to do."""
        pulse = self._scene.pulse
        below = f"site/{directory[self._site :]}"
        for row in rows:
            pulse.check()
            status = self._file(folder, row)
            if status is None:
                yield row.row
                continue
            self.files.append(
                FileEntry(f"{below}/{row.name}", row.digest, row.size, status.st_mode & _EXECUTABLE != 0)
            )
            if row.name.endswith(".py"):
                mtime = status.st_mtime_ns // 1_000_000_000
                self.sources.append(Source(directory, row.name, row.digest, mtime, row.size))
            self._tally.files += 1
            self._tally.shared += 1
            self._tally.bytes_shared += row.size
            pulse.advance(row.size)

    def _file(self, folder: int, row: PlainRow) -> os.stat_result | None:
        """Share one file; returns its stat before, None where it is not plain or not what RECORD says."""
        try:
            file = os.open(row.name, _READ, dir_fd=folder)
        except OSError:
            return None
        try:
            status = os.fstat(file)
            plain = (
                status.st_size == row.size
                and 0 < row.size <= _LARGEST
                and status.st_uid == self._scene.user
                and status.st_mode & NOT_PLAIN == stat.S_IFREG
            )
            if not plain or take_read_lease(file) is not Lease.GRANTED or has_attributes(file):
                return None
            data = os.read(file, row.size + 1)
            guarded = Guarded(folder, row.name, file, status, Lease.GRANTED)
            return status if self._share(guarded, data, row.digest) else None
        except LeaveAloneError:
            return None
        except OSError as error:
            if stops_everything(error):
                raise
            return None
        finally:
            os.close(file)

    def _share(self, file: Guarded, data: bytes, digest: Digest) -> bool:
        """Link the file and the object of its content; False where more than that is needed."""
        executable = file.status.st_mode & _EXECUTABLE != 0
        name = digest.object_name(executable=executable)
        try:
            stored = os.open(name, _READ, dir_fd=self._objects)
        except FileNotFoundError:
            # What a layer may have is asked for in the other way.
            if self._layered or hashlib.sha256(data).digest() != digest:
                return False
            self._rooms.make(name)
            mode = object_mode(executable=executable)
            given = give_inode(file, self._objects, name, mode, digest.mtime_ns)
            self._tally.names += given
            self._tally.ingested += given
            return given
        try:
            status = os.fstat(stored)
            if status.st_ino == file.status.st_ino or not is_sound(status, digest):
                return False
            if os.read(stored, len(data) + 1) != data:
                return False
        finally:
            os.close(stored)
        self._staging.link_over(self._objects, name, file.directory, file.name)
        self._tally.replaced(file.status)
        return True
