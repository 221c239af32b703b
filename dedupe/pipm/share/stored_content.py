"""One content in the store, with which the files of several environments are shared one after the other.

Hard links: the stored file is opened and read once, and stays open under a lease while the files of
environments are compared with it. Reflinks: the first file is hashed and cloned; then the kernel compares the
others with that file, whose pages are in memory, and not with the new clone, which has the same blocks.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from pipm.core.plan.adopt_plan import OWNER_WRITES
from pipm.fs.file_content import digest_file
from pipm.fs.read_lease import Lease, take_read_lease
from pipm.fs.share_file import Stored, finish_mode, give_clone, give_inode, share_blocks
from pipm.fs.xattrs import LABEL, attribute_names, label_of
from pipm.store.layers import open_layers
from pipm.store.objects import ObjectFolders, is_trusted, object_mode

if TYPE_CHECKING:
    from typing import Self

    from pipm.context.adopt_context import AdoptContext
    from pipm.context.statistics import Statistics
    from pipm.core.digest import Digest
    from pipm.fs.share_file import LeasedFile
    from pipm.fs.staging import Staging
    from pipm.store.known import KnownFiles
    from pipm.store.layout import Store

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_EXECUTABLE = 0o100


class ObjectStore(NamedTuple):
    """The store's objects; *layered* is true if the store has layers."""

    objects: int
    rooms: ObjectFolders
    layered: bool

    @classmethod
    def of(cls, store: Store) -> Self:
        """Return those of *store*."""
        return cls(store.objects, ObjectFolders(store.objects), bool(open_layers(store.path)))


class SharingEnvironment(Protocol):
    """An environment that shares its file."""

    context: AdoptContext
    staging: Staging
    statistics: Statistics


class StoredContent:
    """One content in the store; ``file`` is an open file with it, or -1; ``stored`` are mode and time.

    A read lease on that file keeps other processes from writing to it while files are compared with it.
    ``kind`` is (executable, writable) and selects the object. ``is_new`` is true if an environment just gave
    it to the store. ``importable`` and ``path`` (in the entry) are set for each file before it is shared.
    ``inode`` is the one that files share, 0 if they share blocks.
    """

    __slots__ = (
        *("_digest", "_known", "_label", "_name", "_object_store"),
        *("file", "importable", "inode", "is_new", "kind", "path", "stored"),
    )
    LARGEST: ClassVar[int]
    """The largest file that is shared here."""

    def __init__(self, object_store: ObjectStore, digest: Digest, known: KnownFiles) -> None:
        """*known* has the recorded times of the release's objects."""
        self._object_store = object_store
        self._digest = digest
        self._known = known
        self._label = b""
        self._name = self.path = ""
        self.file = -1
        self.inode = 0
        self.is_new = self.importable = False
        self.kind = (False, False)
        self.stored = Stored(0, 0)

    def close(self) -> None:
        """Close the file."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def share(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        """Share the file of an environment; return False if `file_sharer` must do it."""
        mode = file.status.st_mode
        kind = (mode & _EXECUTABLE != 0, self._is_writable(mode))
        if self.file < 0 or kind != self.kind:
            self.close()
            self.kind, self.is_new = kind, False
            self._name = self._digest.object_name(executable=kind[0], writable=kind[1])
            try:
                stored = os.open(self._name, _READ, dir_fd=self._object_store.objects)
            except FileNotFoundError:
                if self._object_store.layered:  # only `file_sharer` uses layers
                    return False
                return self._give(part, file)
            if not self._hold(stored):
                os.close(stored)
                return False
        return self._join(part, file)

    def gives_time(self, status: os.stat_result) -> bool:
        """Return whether a file whose stat was *status* has the time of ``stored`` after it is shared."""
        raise NotImplementedError

    def _hold(self, stored: int) -> bool:
        """Keep the object open if its content is right and no process has it open for writing."""
        status = os.fstat(stored)
        if not is_trusted(status) or take_read_lease(stored) is not Lease.GRANTED:
            return False
        executable, writable = self.kind
        known = self._known.has_time(
            self._digest, status.st_mtime_ns, executable=executable, writable=writable
        )
        # An object with the time that a manifest records is unchanged; others are hashed.
        if not self._read(stored, status, proven=known):
            return False
        self.stored = Stored.of(status)
        self.file = stored
        return True

    def _is_writable(self, mode: int) -> bool:
        """Return whether a file of *mode* shares the object that its owner may write to."""
        raise NotImplementedError

    def _read(self, stored: int, status: os.stat_result, *, proven: bool) -> bool:
        """Prepare comparisons with the open object; unless *proven*, return whether its content is right."""
        raise NotImplementedError

    def _give(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        """Give the file to the store, and keep it open for comparisons with others."""
        raise NotImplementedError

    def _join(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        """Share the file if it has the content."""
        raise NotImplementedError


class LinkedContent(StoredContent):
    """A content of which all files have one inode."""

    __slots__ = ("_data",)
    LARGEST = 1 << 20

    def gives_time(self, status: os.stat_result) -> bool:
        """Return true: the inode has the time."""
        del status
        return True

    def _is_writable(self, mode: int) -> bool:
        return mode & OWNER_WRITES != 0 and not self.importable

    def _read(self, stored: int, status: os.stat_result, *, proven: bool) -> bool:
        attributes = attribute_names(stored)
        if not attributes <= {LABEL}:
            return False
        self._data = os.read(stored, status.st_size + 1)
        self._label = label_of(stored) if attributes else b""
        self.inode = status.st_ino
        return proven or hashlib.sha256(self._data).digest() == self._digest

    def _give(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        self._data = os.read(file.file, file.status.st_size + 1)
        if hashlib.sha256(self._data).digest() != self._digest:
            return False
        self._object_store.rooms.make(self._name)
        mode = object_mode(executable=self.kind[0], writable=self.kind[1])
        further = part.context.further_names.get(file.status.st_ino, 0)
        stored = give_inode(file, self._object_store.objects, self._name, mode, further)
        if stored is None:
            return False
        part.statistics.names += 1
        part.statistics.ingested += 1
        self._label = label_of(file.file) if file.labelled else b""
        self.inode = file.status.st_ino
        self.is_new = True
        self.stored = stored
        self.file = file.file
        return True

    def _join(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        if os.read(file.file, file.status.st_size + 1) != self._data:
            return False
        if file.status.st_ino == self.inode:
            wanted = object_mode(executable=self.kind[0], writable=self.kind[1])
            if self.stored.mode != wanted:
                finish_mode(file, self._object_store.objects, self._name, wanted)
                self.stored = Stored.of(os.fstat(file.file))
            return True
        if (file.labelled or self._label) and label_of(file.file) != self._label:
            return False
        part.staging.link_over(self._object_store.objects, self._name, file.directory, file.name)
        part.statistics.replaced(file.status)
        return True


class ClonedContent(StoredContent):
    """A content of which all files have the same blocks; each keeps its inode and its mode."""

    __slots__ = ()
    LARGEST = 1 << 62

    def gives_time(self, status: os.stat_result) -> bool:
        """Return false for a file with other names: it keeps its own time."""
        return status.st_nlink == 1 or status.st_mtime_ns == self.stored.mtime_ns

    def _is_writable(self, mode: int) -> bool:
        """Prefer the object that the store has: a file that keeps its mode can share any."""
        if self.file >= 0:
            return self.kind[1]
        row = self._known.entry(self.path)
        if row is not None and row.digest == self._digest:
            return row.writable
        return mode & OWNER_WRITES != 0 and not self.importable

    def _read(self, stored: int, status: os.stat_result, *, proven: bool) -> bool:
        return proven or digest_file(stored, status.st_size) == self._digest

    def _give(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        if digest_file(file.file, file.status.st_size) != self._digest:
            return False
        self._object_store.rooms.make(self._name)
        mode = object_mode(executable=self.kind[0], writable=self.kind[1])
        new = part.context.new_file()
        stored = give_clone(file, new, self._object_store.objects, self._name, mode)
        if stored is None:
            return False
        part.statistics.cloned(file.status)
        part.statistics.ingested += 1
        self.is_new = True
        self.stored = stored
        self.file = file.file
        return True

    def _join(self, part: SharingEnvironment, file: LeasedFile) -> bool:
        freed = share_blocks(self.file, file, self.stored.mtime_ns)
        if freed is None:
            return False
        part.statistics.deduplicated(freed)
        return True
