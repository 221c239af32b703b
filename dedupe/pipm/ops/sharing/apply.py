"""Sharing files one by one: the only place that carries out what `plan.adopt` decided."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.reasons import Reason
from pipm.fs.content import digest_file, same_bytes
from pipm.fs.links import LinkMode
from pipm.fs.share import (
    Guarded,
    LeaveAloneError,
    NewFile,
    forget,
    give_clone,
    give_copy,
    give_inode,
    left_alone,
    open_guarded,
    share_blocks,
)
from pipm.ops.sharing.layers import borrow_object
from pipm.store.layers import open_layers
from pipm.store.objects import Rooms, find_object, is_sound, object_mode

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.fs.replace import Staging
    from pipm.ops.sharing.scene import Scene
    from pipm.ops.tally import Tally
    from pipm.plan.adopt import FileFact, Ingest, IngestCopy, Share

_STORED = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileSharer:
    """Makes files of one environment shared, counting in *tally*; LeaveAloneError leaves one alone."""

    def __init__(self, scene: Scene, staging: Staging, tally: Tally) -> None:
        self.scene = scene
        self.staging = staging
        self.tally = tally
        self.objects = scene.store.objects
        self.rooms = Rooms(scene.store.objects)
        self.pending: dict[str, NewFile] = {}
        self._layers = open_layers(scene.store.path)

    def ingest(self, folder: int, action: Ingest) -> Digest:
        """Prove a file's content and let the store share it; returns its digest."""
        fact = action.fact
        assert fact.status is not None
        file = None
        try:
            file = open_guarded(folder, fact.name, fact.status.st_ino)
            digest = self._proven(file, fact)
            if self._borrow(digest, executable=fact.executable):
                os.lseek(file.file, 0, os.SEEK_SET)
                self._share(file, fact, digest, None, proven=False)
            else:
                self._give_or_share(file, fact, digest)
        except OSError as error:
            raise left_alone(error) from error
        finally:
            if file is not None:
                os.close(file.file)
        return digest

    def ingest_copy(self, folder: int, action: IngestCopy) -> Digest:
        """Prove a file's content and copy it into the store; the environment's stays as it is."""
        fact = action.fact
        assert fact.status is not None
        file = None
        try:
            file = open_guarded(folder, fact.name, fact.status.st_ino)
            digest = self._proven(file, fact)
            name = digest.object_name(executable=fact.executable)
            if find_object(self.objects, name) is None:
                self._copy(file, name, digest, executable=fact.executable)
        except OSError as error:
            raise left_alone(error) from error
        finally:
            if file is not None:
                os.close(file.file)
        return digest

    def share(self, folder: int, action: Share, entry: str | None) -> None:
        """Prove a file equal to its object and share it; *entry* is where symlinks point."""
        fact = action.fact
        assert fact.status is not None
        file = None
        try:
            file = open_guarded(folder, fact.name, fact.status.st_ino)
            self._share(file, fact, action.digest, entry, proven=False)
        except OSError as error:
            raise left_alone(error) from error
        finally:
            if file is not None:
                os.close(file.file)

    def _proven(self, file: Guarded, fact: FileFact) -> Digest:
        digest = digest_file(file.file, file.status.st_size)
        if fact.promised and digest != fact.digest:
            raise LeaveAloneError(Reason.MODIFIED)
        if not file.unchanged():
            raise LeaveAloneError(Reason.CHANGING)
        return digest

    def _borrow(self, digest: Digest, *, executable: bool) -> bool:
        """Let the store have the content from a layer, where one has it and no copy is needed."""
        if not self._layers or self.scene.mode is LinkMode.SYMLINK:
            return False
        name = digest.object_name(executable=executable)
        self.rooms.make(name)
        return borrow_object(self.scene.store, self._layers, self._new_file(), name, digest)

    def _give_or_share(self, file: Guarded, fact: FileFact, digest: Digest) -> None:
        """Let the store have the content, or share the store's if it has it by now."""
        name = digest.object_name(executable=fact.executable)
        if self._give(file, name, digest, fact):
            self._count_ingested(file.status.st_size)
            return
        stored = find_object(self.objects, name)
        if stored is not None and not is_sound(stored, digest):
            if stored.st_ino == file.status.st_ino and self.scene.by_inode:
                raise LeaveAloneError(Reason.CHANGED_SHARED)
            forget(self.objects, name)  # it was changed in place; this file is what it should be
            if self._give(file, name, digest, fact):
                self._count_ingested(file.status.st_size)
                return
        if self.scene.mode is not LinkMode.SYMLINK:  # symlinks follow when the entry is published
            self._share(file, fact, digest, None, proven=True)

    def _give(self, file: Guarded, name: str, digest: Digest, fact: FileFact) -> bool:
        """Let the store have the file, if its name is free; False where something else remains to do."""
        self.rooms.make(name)
        mode = object_mode(executable=fact.executable)
        if self.scene.mode is LinkMode.REFLINK:
            if not give_clone(file, self._new_file(), self.objects, name, mode, digest.mtime_ns):
                return False
            self.tally.cloned(file.status)
            return True
        if self.scene.hardlinks:
            given = give_inode(file, self.objects, name, mode, digest.mtime_ns)
            self.tally.names += given
            return given and self.scene.by_inode
        if find_object(self.objects, name) is None:
            self._copy(file, name, digest, executable=fact.executable)
        return False

    def _copy(self, file: Guarded, name: str, digest: Digest, *, executable: bool) -> None:
        if name not in self.pending:
            new = self._new_file()
            give_copy(file.file, new, object_mode(executable=executable), digest.mtime_ns)
            self.pending[name] = new
            self.tally.created(os.stat(new.name, dir_fd=new.directory))

    def _share(
        self, file: Guarded, fact: FileFact, digest: Digest, entry: str | None, *, proven: bool
    ) -> None:
        name = digest.object_name(executable=fact.executable)
        try:
            stored = os.open(name, _STORED, dir_fd=self.objects)
        except FileNotFoundError:  # collected since the plan was made: give it again
            self._heal(file, fact, digest)
            return
        try:
            same = self._share_with(file, fact, name, digest, entry, stored, proven=proven)
        finally:
            os.close(stored)
        if same:
            self._count_shared(file.status.st_size)
        else:
            self._heal(file, fact, digest)

    def _share_with(
        self,
        file: Guarded,
        fact: FileFact,
        name: str,
        digest: Digest,
        entry: str | None,
        stored: int,
        *,
        proven: bool,
    ) -> bool:
        """Share *file* with the open object *stored*; False when they differ."""
        if self.scene.mode is LinkMode.REFLINK:
            freed = share_blocks(stored, file, digest.mtime_ns)
            if freed is not None:
                self.tally.freed += freed
                self.tally.references += freed > 0
            return freed is not None
        if not proven and not same_bytes(file.file, stored, file.status.st_size):
            return False
        if self.scene.mode is LinkMode.HARDLINK:
            self.staging.link_over(self.objects, name, file.directory, file.name)
        else:
            target = f"wheels/{entry}/{fact.entry_path}" if entry else f"objects/{name}"
            path = f"{self.scene.store.path}/v1/{target}"
            self.staging.put(LinkMode.SYMLINK, self.objects, path, file.directory, file.name)
        self.tally.replaced(file.status)
        return True

    def _heal(self, file: Guarded, fact: FileFact, digest: Digest) -> None:
        """Two files differ: when it is the object that is wrong, this one takes its place."""
        os.lseek(file.file, 0, os.SEEK_SET)
        actual = digest_file(file.file, file.status.st_size)
        if actual != digest and fact.promised:
            raise LeaveAloneError(Reason.MODIFIED)
        if self.scene.mode is LinkMode.SYMLINK:
            raise LeaveAloneError(Reason.CHANGING)  # the next run ingests it
        if actual == digest:
            forget(self.objects, digest.object_name(executable=fact.executable))
        self._give_or_share(file, fact, actual)

    def _new_file(self) -> NewFile:
        return self.scene.new_file()

    def _count_ingested(self, size: int) -> None:
        self.tally.ingested += 1
        self._count_shared(size)

    def _count_shared(self, size: int) -> None:
        self.tally.shared += 1
        self.tally.bytes_shared += size
