"""Removing garbage: steps that free space come first, steps that need space last."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.context.workers import SharedState, interruptible
from pipm.core.plan.gc_plan import Fate
from pipm.fs.beneath import is_there
from pipm.fs.durability import Durability
from pipm.fs.removal import remove_empty_below, remove_name, stuck_at
from pipm.fs.walk_tree import inodes_below
from pipm.store.layout import VERSION
from pipm.store.roots import ORIGINALS, find_root, root_name, write_root
from pipm.store.trash import move_to_trash, new_batch, restore_entry, tidy
from pipm.store.unexpected_files import quarantine

if TYPE_CHECKING:
    from pipm.context.progress import Progress
    from pipm.core.plan.gc_plan import RootFact
    from pipm.fs.removal import Stuck
    from pipm.gc.find_garbage import Garbage
    from pipm.store.layout import Store
    from pipm.store.trash import Trashed
    from pipm.store.unexpected_files import UnexpectedFile

_FOLDERS = (("wheels", 2), ("objects", 1), ("bytecode", 2))


class GarbageRemoval:
    """Removes *garbage*; ``stuck`` are files that could not be removed."""

    def __init__(self, store: Store, garbage: Garbage, progress: Progress) -> None:
        self._store = store
        self._garbage = garbage
        self._progress = progress
        self._v1 = f"{store.path}/{VERSION}"
        self._staying: set[int] = set()
        self._batch = new_batch(time.time())
        self._entries: list[str] = []
        self.stuck: list[Stuck] = []

    def run(self) -> None:
        """Remove all garbage; raise OSError for errors of the whole file system."""
        garbage, shared_state = self._garbage, SharedState()
        names = [root_name(root.path) for root in garbage.roots]
        for path in [f"{folder}/{name}" for name in names for folder in ("roots", ORIGINALS)]:
            self.stuck += remove_name(self._store.v1, path, f"{self._v1}/{path}")
        os.fsync(self._store.roots)
        with interruptible(shared_state):
            for one in garbage.due:
                shared_state.check()
                self._remove_folder(one.path)
            self._progress.phase("Removing distributions", len(garbage.entries))
            for number, entry in enumerate(() if garbage.grace else garbage.entries):
                shared_state.check()
                self._progress.advance(number, 0)
                if self._remove_folder(f"wheels/{entry}"):
                    self._entries.append(entry)
            self._remove_files(shared_state)
            for entry in garbage.entries if garbage.grace else ():
                shared_state.check()
                self._discard(entry)
        for one in garbage.restored:
            self._restore(one)
        for unexpected_file in garbage.aside:
            self._put_aside(unexpected_file)
        for root in (*garbage.missing, *garbage.returned):
            _note_missing(self._store, root)
        tidy(self._store)
        for folder, depth in _FOLDERS:
            remove_empty_below(f"{self._v1}/{folder}", depth)

    def result(self, left: list[Stuck]) -> Garbage:
        """Return the removed garbage, without files that stayed, now or in the run before (*left*)."""
        stuck = {one.inode: one for one in self.stuck}
        names = Counter(one.inode for one in (*left, *self.stuck))
        # Files with names outside of the store were not counted as freed.
        lost = sum(one.size for one in stuck.values() if one.links <= names[one.inode])
        files = [one for one in self.stuck if one.path.startswith(f"{self._v1}/objects/")]
        return replace(
            self._garbage,
            entries=tuple(self._entries),
            objects=max(self._garbage.objects - len(files), 0),
            freed=max(self._garbage.freed - lost, 0),
            solid=max(self._garbage.solid - lost, 0),
        )

    def _remove_folder(self, path: str) -> bool:
        """Remove a folder below ``v1/``; if it keeps its name, keep the objects of its files, too."""
        self.stuck += self._store.remove_folder(path)
        if not is_there(self._store.v1, path):
            return True
        self._staying.update(inodes_below(f"{self._v1}/{path}"))
        return False

    def _remove_files(self, shared_state: SharedState) -> None:
        files = self._garbage.files
        self._progress.phase("Removing files", len(files))
        for number, path in enumerate(files):
            shared_state.check()
            if not self._staying or not self._stays(path):
                self.stuck += remove_name(self._store.v1, path, f"{self._v1}/{path}")
            self._progress.advance(number, 0)

    def _stays(self, path: str) -> bool:
        try:
            return os.stat(path, dir_fd=self._store.v1, follow_symlinks=False).st_ino in self._staying
        except FileNotFoundError:
            return False

    def _discard(self, entry: str) -> None:
        try:
            move_to_trash(self._store, entry, self._batch)
        except OSError as error:
            path = f"wheels/{entry}"
            self.stuck.append(stuck_at(self._store.v1, path, f"{self._v1}/{path}", error))
        else:
            self._entries.append(entry)

    def _put_aside(self, unexpected_file: UnexpectedFile) -> None:
        try:
            quarantine(self._store, unexpected_file)
        except OSError as error:
            self.stuck.append(
                stuck_at(self._store.v1, unexpected_file.name, f"{self._v1}/{unexpected_file.name}", error)
            )

    def _restore(self, one: Trashed) -> None:
        try:
            restore_entry(self._store, one)
        except OSError as error:
            self.stuck.append(stuck_at(self._store.v1, one.path, f"{self._v1}/{one.path}", error))


def _note_missing(store: Store, root: RootFact) -> None:
    """Record since when an environment is missing, or that it exists again."""
    known = find_root(store, root.path)
    if known is None:
        return
    since = root.seen if root.fate in (Fate.GONE, Fate.REPLACED) else 0.0
    if known.missing != since:
        try:
            write_root(store, known._replace(missing=since), Durability.WHOLE)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # the next run notes it
                raise
