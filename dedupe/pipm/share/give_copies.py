"""Giving files of an environment private copies: copy all, sync, then rename all.

After a power cut each file is shared or private, and complete.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipm.context.statistics import SkippedFile
from pipm.context.workers import SharedState, interruptible, worker_count, worker_pool
from pipm.core.reasons import Reason
from pipm.fs.beneath import directory_beneath
from pipm.fs.copies import FileMetadata, set_metadata
from pipm.fs.durability import sync_file_system
from pipm.fs.os_errors import stops_everything
from pipm.fs.share_file import LeaveAloneError
from pipm.fs.staging import Staging, staging

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import WorkQueue
    from pipm.core.plan.release_plan import Release, SharedFile

_REFUSALS = {
    errno.EPERM: Reason.PROTECTED,
    errno.EACCES: Reason.NO_WRITE,
    errno.EROFS: Reason.NO_WRITE,  # a directory that is a mount point of its own
    errno.EXDEV: Reason.NO_WRITE,
    errno.EBUSY: Reason.NO_WRITE,
}
_same = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid")
"""The ctime is not compared: a new link to the inode in another environment changes it."""


def give_copies(root: int, releases: Sequence[Release], progress: Progress) -> tuple[int, list[SkippedFile]]:
    """Apply *releases* to the environment that is open as *root*.

    Returns the number of files that are no longer shared, and the skipped files.
    """
    folders: dict[str, list[Release]] = {}
    for planned in releases:
        folders.setdefault(planned.file.directory, []).append(planned)
    # The largest come first, so that all workers end at about the same time.
    order = sorted(folders.values(), key=lambda files: -sum(one.file.status.st_size for one in files))
    shared_state = SharedState()
    with interruptible(shared_state), staging(root) as folder, ExitStack() as stack:
        areas = [Staging(folder, str(number)) for number in range(worker_count(len(releases)))]
        for area in areas:
            stack.callback(area.close)

        def work(number: int, queue: WorkQueue) -> _CopyWorker:
            return _CopyWorker(root, areas[number], order, queue, shared_state)

        progress.phase("Copying files", len(releases))
        pool = stack.enter_context(worker_pool(work, len(order), len(releases), shared_state, progress))
        answers: list[_CopyResult] = pool.run("copy")
        shared_state.check()
        sync_file_system(root)
        answers = pool.run("move")
        sync_file_system(root)
    return sum(answer.given for answer in answers), [left for answer in answers for left in answer.left]


class _CopyResult(NamedTuple):
    """The number of files with new copies so far, and the skipped files."""

    given: int
    left: list[SkippedFile]


class _CopyWorker:
    """Copies files of some folders in one stage, and renames the copies over them in the next."""

    def __init__(
        self,
        root: int,
        area: Staging,
        order: Sequence[Sequence[Release]],
        queue: Iterable[int],
        shared_state: SharedState,
    ) -> None:
        """*order* has the files of each folder; the queue yields its indexes."""
        self._root = root
        self._area = area
        self._order = order
        self._queue = queue
        self._shared_state = shared_state
        self._ready: list[list[tuple[Release, str]]] = []
        self._given = 0
        self._left: list[SkippedFile] = []

    def run(self, stage: Literal["copy", "move"]) -> _CopyResult:
        """Run one stage; return the results so far."""
        if stage == "copy":
            for index in self._queue:
                self._copy_folder(self._order[index])
        else:
            for ready in self._ready:
                self._move_folder(ready)
        return _CopyResult(self._given, self._left)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _copy_folder(self, releases: Sequence[Release]) -> None:
        ready = []
        with directory_beneath(self._root, releases[0].file.directory) as folder:
            for planned in releases:
                self._shared_state.check()
                try:
                    ready.append((planned, "" if _in_place(planned) else self._copy(folder, planned)))
                except LeaveAloneError as refusal:
                    self._leave(planned.file, refusal.reason)
                self._shared_state.advance(planned.file.status.st_size)
        self._ready.append(ready)

    def _copy(self, folder: int | None, planned: Release) -> str:
        if folder is None:
            raise LeaveAloneError(Reason.CHANGING)
        try:
            source = os.open(
                planned.file.target or planned.file.name,
                os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=folder,
            )
        except OSError as error:
            if stops_everything(error):
                raise
            raise LeaveAloneError(Reason.UNREADABLE) from error
        try:
            status = os.fstat(source)
            if status.st_ino != planned.file.status.st_ino:
                raise LeaveAloneError(Reason.CHANGING)
            return self._area.copy_privately(source, status, _metadata(planned))
        finally:
            os.close(source)

    def _move_folder(self, ready: Sequence[tuple[Release, str]]) -> None:
        if not ready:
            return
        with directory_beneath(self._root, ready[0][0].file.directory) as folder:
            if folder is None:
                for planned, _ in ready:
                    self._leave(planned.file, Reason.CHANGING)
                return
            with self._area.keeping_time(folder):
                for planned, temporary in ready:
                    reason = self._move(folder, planned, temporary)
                    if reason is not None:
                        self._leave(planned.file, reason)
                    elif not planned.file.private:
                        self._given += 1

    def _move(self, folder: int, planned: Release, temporary: str) -> Reason | None:
        """Rename the copy over the file; return the reason if it changed meanwhile or cannot be replaced."""
        file = planned.file
        try:
            # For a symlink into the store the status is that of the stored file.
            now = os.stat(file.target or file.name, dir_fd=folder, follow_symlinks=file.link is not None)
        except FileNotFoundError:
            return Reason.CHANGING
        if _same(now) != _same(file.status):
            return Reason.CHANGING
        try:
            if temporary:
                self._area.move(temporary, folder, file.name)
            elif now.st_nlink != 1:
                return Reason.CHANGING  # another program made a hard link meanwhile
            else:
                set_metadata(folder, file.name, _metadata(planned))
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            return _REFUSALS[error.errno]
        return None

    def _leave(self, file: SharedFile, reason: Reason) -> None:
        self._left.append(SkippedFile(file.shown, reason))


def _in_place(planned: Release) -> bool:
    """Return whether a file shares only the time, so that setting its own inode's time is enough."""
    return planned.file.private and not planned.file.source


def _metadata(planned: Release) -> FileMetadata:
    """Return the metadata of the copy; if the file is a symlink, the owner is the symlink's."""
    named = planned.file.link or planned.file.status
    return FileMetadata(
        mode=planned.mode,
        owner=named.st_uid,
        group=named.st_gid if planned.group is None else planned.group,
        mtime_ns=planned.mtime_ns,
        source=planned.source_times,
    )
