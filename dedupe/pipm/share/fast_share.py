"""Sharing ordinary files by hard links or reflinks in half the time.

Nearly all files are ordinary: a file of a package with a plain row in RECORD. It is opened, compared with
RECORD, and shared, with the same checks as in `file_sharer` but without facts, plan and actions. A file that
is unusual in any way stays as it is here; `file_facts` and `plan_file` then decide about it.

A file of one release is shared in all environments that have it before the next file, because then its
content is read once (`stored_content`).
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compiled_files import ProvenSource
from pipm.core.digest import Digest
from pipm.core.importable import is_importable
from pipm.core.manifest import FileEntry
from pipm.core.plan.adopt_plan import is_usual_mode
from pipm.fs.beneath import directory_beneath
from pipm.fs.file_content import is_cached, prefetch
from pipm.fs.os_errors import stops_everything
from pipm.fs.read_lease import Lease, take_read_lease
from pipm.fs.share_file import LeasedFile, LeaveAloneError
from pipm.fs.xattrs import LABEL, attribute_names
from pipm.share.stored_content import ClonedContent, LinkedContent, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.context.adopt_context import AdoptContext
    from pipm.context.statistics import Statistics
    from pipm.env.installed import InstalledDistribution
    from pipm.fs.staging import Staging
    from pipm.share.stored_content import StoredContent
    from pipm.store.known import KnownFiles, Releases

_ROW = rb"((?!\.\.?/)[^,\"]*%b)/([^,/\"]+),sha256=([A-Za-z0-9_-]{43}),(\d{1,18})"
_ORDINARY_ROW = re.compile(_ROW % rb"(?<!\.dist-info)")
"""A row of RECORD for a file in a package: folder, name, digest, size in bytes."""
ROW_BELOW_SITE = re.compile(_ROW % b"")
"""A row for a file in a package or in the metadata folder."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NOT_ORDINARY = 0o170000 | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""Bits of a mode; of these an ordinary file has only S_IFREG."""
_ASKED_EVERY = 16
"""Number of folders of a distribution after which mincore(2) is asked again if they are cached."""


class OrdinaryRow(NamedTuple):
    """A row of RECORD for an ordinary file: its folder, name, digest, size in bytes, and the row itself."""

    folder: bytes
    name: str
    digest: Digest
    size: int
    row: bytes


Folders = dict[bytes, dict[str, OrdinaryRow]]


def ordinary_rows(
    distribution: InstalledDistribution,
    known: dict[bytes, OrdinaryRow] | None = None,
    pattern: re.Pattern[bytes] = _ORDINARY_ROW,
) -> tuple[Folders, bytes]:
    """Return RECORD's rows of ordinary files by folder (in site-packages) and name, and all other rows.

    Rows of bytecode without hash are in neither: bytecode is handled with its source. *known* rows are not
    parsed again.
    """
    if distribution.odd:
        return {}, distribution.record
    known = {} if known is None else known
    rest: list[bytes] = []
    folders: Folders = {}
    for line in distribution.record.splitlines():
        row = known.get(line)
        if row is None:
            found = pattern.fullmatch(line)
            if found is None:
                if not line.endswith(b".pyc,,"):
                    rest.append(line)
                continue
            folder, name, digest, size = found.groups()
            row = OrdinaryRow(folder, os.fsdecode(name), Digest.from_urlsafe(digest), int(size), line)
            known[line] = row
        rows = folders.get(row.folder)
        if rows is None:
            rows = folders[row.folder] = {}
        rows[row.name] = row
    return folders, b"\n".join(rest)


@dataclass(eq=False, slots=True)
class OrdinaryFiles:
    """The ordinary files of a distribution in one environment, counted in its *statistics*.

    Shared files are added to ``files`` and ``sources``; ``left`` gets the rows of RECORD that remain.
    """

    context: AdoptContext
    staging: Staging
    statistics: Statistics
    distribution: InstalledDistribution
    files: list[FileEntry]
    sources: list[ProvenSource]
    left: list[bytes] = field(default_factory=list)
    _asked: int = 0
    _cold: bool = False

    @contextmanager
    def open(self, folder: str, rows: Sequence[OrdinaryRow]) -> Iterator[int | None]:
        """Yield an open folder of the distribution; None if it is missing or not accessible."""
        path = f"{self.distribution.site}/{folder}"
        with directory_beneath(self.context.root, path) as directory:
            if directory is None:
                yield None
                return
            self._prefetch(directory, rows)
            with self.staging.keeping_time(directory):
                yield directory

    def _prefetch(self, directory: int, rows: Sequence[OrdinaryRow]) -> None:
        if not self._asked % _ASKED_EVERY:
            self._cold = not is_cached(directory, rows[0].name)
        self._asked += 1
        if self._cold:
            prefetch(directory, [row.name for row in rows])
        if self._cold or not self.context.by_inode:  # no process reads the store's own inodes
            objects = [row.digest.object_name(executable=False) for row in rows]
            prefetch(self.context.store.objects, objects)

    def count(self, folder: str, row: OrdinaryRow, status: os.stat_result, content: StoredContent) -> None:
        """Count a file that shares *content*; *status* is its stat before that."""
        executable, writable = content.kind
        stored = content.stored
        path = f"site/{folder}/{row.name}"
        self.files.append(FileEntry(path, row.digest, row.size, executable, writable, *stored))
        if row.name.endswith(".py") and content.gives_time(status):
            directory = f"{self.distribution.site}/{folder}"
            source = ProvenSource(
                directory, row.name, row.digest, row.size, status.st_mtime_ns, stored.mtime_ns
            )
            self.sources.append(source)
        self.statistics.files += 1
        if status.st_ino == content.inode and not content.is_new:
            self.statistics.already += 1
        else:
            self.statistics.shared += 1
        self.statistics.bytes_shared += row.size
        self.context.shared_state.advance(row.size)


class FastSharer:
    """Shares ordinary files with one store, by hard links or by reflinks."""

    def __init__(self, context: AdoptContext, releases: Releases) -> None:
        """*context* is one of those for the store."""
        self._user = context.user
        self._shared_state = context.shared_state
        self._object_store = ObjectStore.of(context.store)
        self._releases = releases
        self._contents: type[StoredContent] = LinkedContent

    def share(self, parts: Sequence[OrdinaryFiles]) -> None:
        """Share the ordinary files of *parts*, which have one link mode; a common content is read once."""
        known: dict[bytes, OrdinaryRow] = {}
        folders: dict[bytes, dict[OrdinaryRow, list[OrdinaryFiles]]] = {}
        for part in parts:
            own, rest = ordinary_rows(part.distribution, known)
            part.left.append(rest)
            for folder, rows in own.items():
                together = folders.setdefault(folder, {})
                for row in rows.values():
                    together.setdefault(row, []).append(part)
        if not parts:
            return
        one = parts[0].distribution
        release = (one.name, one.version)
        self._contents = LinkedContent if parts[0].context.by_inode else ClonedContent
        times = self._releases.known(*release, parts[0].context.entries.get(release, ""))
        for folder, together in folders.items():
            self._folder(os.fsdecode(folder), together, times)

    def _folder(
        self, folder: str, together: dict[OrdinaryRow, list[OrdinaryFiles]], known: KnownFiles
    ) -> None:
        """Share the files of one folder, in all environments that have it."""
        rows: dict[OrdinaryFiles, list[OrdinaryRow]] = {}
        for row, parts in together.items():
            for part in parts:
                rows.setdefault(part, []).append(row)
        with ExitStack() as stack:
            opened = {part: stack.enter_context(part.open(folder, own)) for part, own in rows.items()}
            for row, parts in together.items():
                content = self._contents(self._object_store, row.digest, known)
                try:
                    for part in parts:
                        self._shared_state.check()
                        directory = opened[part]
                        path = f"{folder}/{row.name}"
                        content.path = f"site/{path}"
                        content.importable = is_importable(path, part.distribution.packages)
                        status = None if directory is None else self._file(part, directory, row, content)
                        if status is None:
                            part.left.append(row.row)
                        else:
                            part.count(folder, row, status, content)
                            content.is_new = False
                finally:
                    content.close()

    def _file(
        self, part: OrdinaryFiles, directory: int, row: OrdinaryRow, content: StoredContent
    ) -> os.stat_result | None:
        """Share one file; return its earlier stat, or None if it is not ordinary or differs from RECORD."""
        try:
            file = os.open(row.name, _READ, dir_fd=directory)
        except OSError:
            return None
        try:
            status = os.fstat(file)
            ordinary = (
                status.st_size == row.size
                and 0 < row.size <= content.LARGEST
                and status.st_uid == self._user
                and stat.S_ISREG(status.st_mode)
                and is_usual_mode(status.st_mode)
            )
            if not ordinary or take_read_lease(file) is not Lease.GRANTED:
                return None
            attributes = attribute_names(file)
            if not attributes <= {LABEL}:
                return None
            guarded = LeasedFile(directory, row.name, file, status, Lease.GRANTED, bool(attributes))
            return status if content.share(part, guarded) else None
        except LeaveAloneError:
            return None
        except OSError as error:
            if stops_everything(error):
                raise
            return None
        finally:
            if file != content.file:
                os.close(file)
