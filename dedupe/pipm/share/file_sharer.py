"""Sharing single files: applies the actions of `core.plan.adopt_plan`."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.reasons import Reason
from pipm.fs.file_content import digest_file, same_bytes
from pipm.fs.link_modes import LinkMode
from pipm.fs.opened import opened
from pipm.fs.restore_files import rename_over
from pipm.fs.share_file import (
    LeasedFile,
    LeaveAloneError,
    NewFile,
    Stored,
    forget,
    give_clone,
    give_copy,
    give_inode,
    give_name,
    left_alone,
    open_leased,
    second_inode,
    set_back_status,
    set_time_of,
    share_blocks,
)
from pipm.fs.xattrs import LABEL, attribute_names, label_of
from pipm.share.copy_from_layer import borrow_object
from pipm.store.layers import open_layers
from pipm.store.objects import ObjectFolders, find_object, is_trusted, object_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.context.adopt_context import AdoptContext
    from pipm.context.statistics import Statistics
    from pipm.core.digest import Digest
    from pipm.core.plan.adopt_plan import FileFact, Ingest, IngestCopy, Share
    from pipm.fs.staging import Staging

_STORED = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSED = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})
"""Errors of FIDEDUPERANGE for a file that cannot share blocks on a file system that can."""


class Shared(NamedTuple):
    """The digest of the object that a file shares, and the object's mode and time."""

    digest: Digest
    stored: Stored


def mode_of_object(fact: FileFact) -> int:
    """Return the mode of the object that a file shares."""
    return object_mode(executable=fact.executable, writable=fact.writable)


@contextmanager
def _leased(folder: int, fact: FileFact) -> Iterator[LeasedFile]:
    """Open a file with a read lease; an OSError in the with block becomes the LeaveAloneError of its kind."""
    assert fact.status is not None
    try:
        file = open_leased(folder, fact.name, fact.status.st_ino)
        try:
            yield file
        finally:
            os.close(file.file)
    except OSError as error:
        raise left_alone(error) from error


class FileSharer:
    """Shares files of one environment and counts them in *statistics*.

    Methods raise LeaveAloneError for a file that they leave unchanged.
    """

    def __init__(self, context: AdoptContext, staging: Staging, statistics: Statistics) -> None:
        self.context = context
        self.staging = staging
        self.statistics = statistics
        self.objects = context.store.objects
        self.rooms = ObjectFolders(context.store.objects)
        self.pending: dict[str, NewFile] = {}
        self._layers = open_layers(context.store.path)

    def ingest(self, folder: int, action: Ingest) -> Shared:
        """Hash a file; give it to the store, or share it if the store has it meanwhile. Return its object."""
        fact = action.fact
        assert fact.status is not None
        try:
            with _leased(folder, fact) as file:
                digest = self._proven(file, fact)
                if self._borrow(self._name(fact, digest)):
                    return self._share(file, fact, digest, None, proven=True)
                return self._give_or_share(file, fact, digest)
        except LeaveAloneError as refusal:
            if refusal.reason is Reason.ATTRIBUTES and self._is_the_object(fact.status, fact.stored):
                raise LeaveAloneError(Reason.MARKED_SHARED) from refusal
            raise

    def ingest_copy(self, folder: int, action: IngestCopy) -> Shared:
        """Hash a file and copy it into the store; the environment's file stays as it is."""
        fact = action.fact
        with _leased(folder, fact) as file:
            digest = self._proven(file, fact)
            name = self._name(fact, digest)
            stored = find_object(self.objects, name)
            if stored is not None and is_trusted(stored):
                return Shared(digest, Stored.of(stored))
            return Shared(digest, self._copy(file, name, mode_of_object(fact)))

    def share(self, folder: int, action: Share, entry: str | None) -> Shared:
        """Compare a file with its object and share it; symlinks point into *entry*."""
        with _leased(folder, action.fact) as file:
            return self._share(file, action.fact, action.digest, entry, proven=False)

    def _name(self, fact: FileFact, digest: Digest) -> str:
        return digest.object_name(executable=fact.executable, writable=fact.writable)

    def _proven(self, file: LeasedFile, fact: FileFact) -> Digest:
        digest = digest_file(file.file, file.status.st_size)
        if digest != fact.digest and self._is_the_object(file.status, fact.stored):
            raise LeaveAloneError(Reason.CHANGED_SHARED)
        if fact.has_record_digest and digest != fact.digest:
            raise LeaveAloneError(Reason.MODIFIED)
        if not file.unchanged():
            raise LeaveAloneError(Reason.CHANGING)
        return digest

    def _is_the_object(self, status: os.stat_result, stored: os.stat_result | None) -> bool:
        return stored is not None and self.context.by_inode and stored.st_ino == status.st_ino

    def _borrow(self, name: str) -> bool:
        """Take the object from a layer; return False if none has it, or only by a copy."""
        if not self._layers or self.context.mode is LinkMode.SYMLINK:
            return False
        self.rooms.make(name)
        return borrow_object(self.context.store, self._layers, self._new_file(), name)

    def _give_or_share(self, file: LeasedFile, fact: FileFact, digest: Digest) -> Shared:
        """Give the content to the store, or share the store's object if it exists meanwhile."""
        name = self._name(fact, digest)
        given = self._give(file, name, fact)
        if given is not None:
            return Shared(digest, given)
        stored = find_object(self.objects, name)
        if stored is not None and self._is_the_object(file.status, stored):
            self.statistics.already += 1
            self.statistics.bytes_shared += stored.st_size
            return Shared(digest, Stored.of(stored))
        if stored is not None and not is_trusted(stored):
            forget(self.objects, name)
            given = self._give(file, name, fact)
            if given is not None:
                return Shared(digest, given)
        if self.context.mode is LinkMode.SYMLINK:  # the symlink is made after the entry is published
            if name in self.pending:
                new = self.pending[name]
                return Shared(digest, Stored.of(os.stat(new.name, dir_fd=new.directory)))
            self._check_object(name, file, fact)
            return Shared(digest, Stored.of(os.stat(name, dir_fd=self.objects, follow_symlinks=False)))
        return self._share(file, fact, digest, None, proven=True)

    def _check_object(self, name: str, file: LeasedFile, fact: FileFact) -> None:
        """Replace an object with wrong content before symlinks point to it."""
        with opened(os.open(name, _STORED, dir_fd=self.objects)) as stored:
            os.lseek(file.file, 0, os.SEEK_SET)
            same = os.fstat(stored).st_ino == file.status.st_ino or same_bytes(
                file.file, stored, file.status.st_size
            )
        if not same:
            forget(self.objects, name)
            self._give(file, name, fact)

    def _give(self, file: LeasedFile, name: str, fact: FileFact) -> Stored | None:
        """Give the file to the store if it has no such object; return None if that does not share it."""
        self.rooms.make(name)
        mode = mode_of_object(fact)
        if self.context.mode is LinkMode.REFLINK:
            if find_object(self.objects, name) is not None:  # clone only what the store lacks
                return None
            given = give_clone(file, self._new_file(), self.objects, name, mode)
            if given is not None:
                self.statistics.cloned(file.status)
                self._count_ingested(file.status.st_size)
            return given
        if self.context.hardlinks:
            further = self.context.further_names.get(file.status.st_ino, 0)
            given = give_inode(file, self.objects, name, mode, further)
            self.statistics.names += given is not None
            if given is not None and self.context.by_inode:
                self._count_ingested(file.status.st_size)
                return given
            return None
        if find_object(self.objects, name) is None:
            self._copy(file, name, mode)
        return None

    def _copy(self, file: LeasedFile, name: str, mode: int) -> Stored:
        new = self.pending.get(name)
        if new is None:
            own = self._new_file()
            give_copy(file, own, mode)
            # One name in the run: manifests of other releases with this content need the same time.
            new = self.pending[name] = NewFile(self.context.run, f"copy-{name.replace('/', '')}")
            if give_name(own, *new):
                self.statistics.created(os.stat(new.name, dir_fd=new.directory))
        return Stored.of(os.stat(new.name, dir_fd=new.directory))

    def _share(
        self, file: LeasedFile, fact: FileFact, digest: Digest, entry: str | None, *, proven: bool
    ) -> Shared:
        """Share *file* with the object; if *proven*, the file was hashed: a different object is damaged."""
        name = self._name(fact, digest)
        try:
            stored = os.open(name, _STORED, dir_fd=self.objects)
        except FileNotFoundError:  # gc removed it after the plan was made
            return self._handle_difference(file, fact, digest)
        try:
            os.lseek(file.file, 0, os.SEEK_SET)
            status = os.fstat(stored)
            same = status.st_size == file.status.st_size and self._share_with(
                file, fact, name, entry, stored, status
            )
        finally:
            os.close(stored)
        if not same:
            if proven and self.context.mode is not LinkMode.SYMLINK:
                forget(self.objects, name)
                return self._give_or_share(file, fact, digest)
            return self._handle_difference(file, fact, digest)
        self._count_shared(file.status.st_size)
        return Shared(digest, Stored.of(status))

    def _share_with(
        self,
        file: LeasedFile,
        fact: FileFact,
        name: str,
        entry: str | None,
        stored: int,
        status: os.stat_result,
    ) -> bool:
        """Share *file* with the open object *stored*; return False if they differ."""
        if self.context.mode is LinkMode.REFLINK:
            return self._share_blocks(file, name, stored, status)
        if not same_bytes(file.file, stored, file.status.st_size):
            return False
        attributes = attribute_names(stored)
        if (file.labelled or LABEL in attributes) and label_of(file.file) != label_of(stored):
            raise LeaveAloneError(Reason.ATTRIBUTES)
        if self.context.mode is LinkMode.HARDLINK:
            self._link(file, name, status, spent=not attributes <= {LABEL})
            return True
        target = f"wheels/{entry}/{fact.entry_path}" if entry else f"objects/{name}"
        path = f"{self.context.store.path}/v1/{target}"
        self.staging.put(LinkMode.SYMLINK, self.objects, path, file.directory, file.name)
        self.statistics.replaced(file.status)
        return True

    def _link(self, file: LeasedFile, name: str, status: os.stat_result, *, spent: bool) -> None:
        """Replace *file* by a link to the object; if the object's inode is *spent*, replace the object.

        An inode is spent if it can have no more links (ext4: 65 000), or has attributes that the file lacks.
        """
        if not spent:
            try:
                self.staging.link_over(self.objects, name, file.directory, file.name)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
            else:
                self.statistics.replaced(file.status)
                return
        self._renew(file, name, Stored.of(status), link=True)

    def _share_blocks(self, file: LeasedFile, name: str, stored: int, status: os.stat_result) -> bool:
        try:
            freed = share_blocks(stored, file, status.st_mtime_ns)
        except OSError as error:
            if error.errno not in _REFUSED or not same_bytes(file.file, stored, file.status.st_size):
                raise
            # The object's inode cannot share blocks (NOCOW): replace the object by a clone of the file.
            self._renew(file, name, Stored.of(status), link=False)
            if file.status.st_nlink == 1:
                set_time_of(file.file, status.st_mtime_ns)
            return True
        if freed is not None:
            self.statistics.deduplicated(freed)
        return freed is not None

    def _renew(self, file: LeasedFile, name: str, stored: Stored, *, link: bool) -> None:
        new = self._new_file()
        second_inode(file, new, stored, link=link)
        try:
            rename_over(new, self.objects, name)
        except BaseException:
            if link:  # the environment's inode did not become the object: restore its mode and time
                set_back_status(file)
            raise
        finally:
            forget(new.directory, new.name)
        self.statistics.names += 1

    def _handle_difference(self, file: LeasedFile, fact: FileFact, digest: Digest) -> Shared:
        """Handle a file that differs from its object: if the object is damaged, the file replaces it."""
        os.lseek(file.file, 0, os.SEEK_SET)
        actual = digest_file(file.file, file.status.st_size)
        if actual != digest and fact.has_record_digest:
            raise LeaveAloneError(Reason.MODIFIED)
        if self.context.mode is LinkMode.SYMLINK:
            raise LeaveAloneError(Reason.CHANGING)  # the next run gives it to the store
        if actual == digest:
            forget(self.objects, self._name(fact, digest))
        return self._give_or_share(file, fact, actual)

    def _new_file(self) -> NewFile:
        return self.context.new_file()

    def _count_ingested(self, size: int) -> None:
        self.statistics.ingested += 1
        self._count_shared(size)

    def _count_shared(self, size: int) -> None:
        self.statistics.shared += 1
        self.statistics.bytes_shared += size
