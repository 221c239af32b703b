"""`pipm release`: give an environment its own copies again."""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.context.statistics import SkippedFile
from pipm.context.workers import SharedState, interruptible
from pipm.core.plan.release_plan import needed_bytes, plan_release
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace, source_of_bytecode
from pipm.env.installed import installed_distributions, place_in_environment
from pipm.errors import FileSystemError, StoreError, UsageError
from pipm.fs.beneath import directory_beneath
from pipm.fs.compression import compresses
from pipm.fs.copies import Metadata, set_metadata
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import accounting, file_system_type, free_space, stable_free_space
from pipm.fs.os_errors import explain_os_error, stops_everything
from pipm.fs.share_file import LeaveAloneError, same_folder_time
from pipm.fs.staging import Staging, staging
from pipm.pip_wrapper.install_wrapper import uninstall_wrapper
from pipm.share.shared_files import Finder, lost_stores
from pipm.store.layout import open_store
from pipm.store.roots import ADOPTED, ADOPTING, PARTLY, find_root, remove_root, write_root
from pipm.store.stored_originals import read_originals, record_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.context.progress import Progress
    from pipm.core.plan.release_plan import Release, SharedFile
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """What a release did, or (dry run) would do; ``bytes_used`` is what the private copies take."""

    path: str
    python: str
    link_mode: str
    distributions: int
    files: int
    files_released: int
    left: tuple[SkippedFile, ...]
    bytes_used: int
    seconds: float


def release_shared(
    store_path: str, path: str, names: list[str], progress: Progress, *, dry_run: bool
) -> Released:
    """Give the environment at *path* (or its distributions *names* alone) private copies.

    Until all copies are on disk nothing of the environment is touched. Raises PipmError.
    """
    started = time.monotonic()
    environment = checked_environment(store_path, path)
    _refuse_lost(environment)
    store = open_store(store_path, create=False)
    try:
        with locked_environment(store, environment, progress) as root:
            there = installed_distributions(environment, root)
            chosen, distributions = _chosen(environment, there, names)
            finder = Finder(store, environment, there)
            releases = plan_release(list(finder.files(chosen)))
            record = 0 if names or store is None else record_blocks(store, environment.path)
            _say_unknown(store, environment, progress, lost=finder.lost)
            before = None if dry_run or not compresses(environment.path) else stable_free_space(root)
            left = [] if dry_run else _apply(environment, root, releases, progress)
            used = needed_bytes(releases, accounting(file_system_type(environment.path)))
            if before is not None:
                used = _used(root, before, used)
            if not dry_run and not names:
                uninstall_wrapper(environment)
            if not dry_run and store is not None:
                _forget(store, environment, names, complete=not left)
    except OSError as error:
        raise explain_os_error(error, f"release {path}") from error
    finally:
        progress.done()
    known = None if store is None else find_root(store, environment.path)
    return Released(
        path=environment.path,
        python=environment.python,
        link_mode="copy" if known is None else known.link_mode,
        distributions=distributions,
        files=finder.total,
        files_released=len(releases) - len(left),
        left=tuple(left),
        bytes_used=max(used - record, 0),
        seconds=time.monotonic() - started,
    )


def _used(root: int, before: int, most: int) -> int:
    """Ask a file system that compresses what the copies take: at *most* their bytes."""
    after = stable_free_space(root)
    used = most if after is None else before - after
    return used if 0 <= used <= most else most


def _refuse_lost(environment: Environment) -> None:
    """Raise where symlinks lead into a store that is not there; the environment is not forgotten then."""
    for store, count in lost_stores(environment).items():
        raise StoreError(
            f"{count} files of {environment.path} are symlinks into the store {store}, which is not there",
            hint=f"if it was moved, let its old path lead there (ln -s NEW {store}), and release again",
        )


def _chosen(
    environment: Environment, distributions: list[InstalledDistribution], names: list[str]
) -> tuple[Callable[[str], bool] | None, int]:
    """Whether a path is one of the distributions *names* (None: all), and how many these are."""
    if not names:
        return None, len(distributions)
    wanted = {canonicalize_name(name) for name in names}
    found = [distribution for distribution in distributions if distribution.name in wanted]
    unknown = wanted - {distribution.name for distribution in found}
    if unknown:
        raise UsageError(
            f"{environment.path} has no distribution {min(unknown)}",
            hint="`pip list` there names them",
        )
    paths = {
        _bytecode_key(place_in_environment(distribution, location))
        for distribution in found
        for _, location in distribution.located
        if location.place is not RecordPlace.OUTSIDE
    }
    return lambda path: _bytecode_key(path) in paths, len(found)


def _bytecode_key(path: str) -> str:
    """The same key for a source and its bytecode: ``a/b.py`` and ``a/__pycache__/b.cpython-312.pyc``."""
    folder, _, name = path.rpartition("/")
    if folder.endswith("/__pycache__") and name.endswith(".pyc"):
        return f"{folder[: -len('/__pycache__')]}/{source_of_bytecode(name) or name}"
    return path


def _apply(
    environment: Environment, root: int, releases: list[Release], progress: Progress
) -> list[SkippedFile]:
    """Copy all, sync, then rename all: a power cut finds each file shared or private, and whole."""
    free = free_space(environment.path)
    need = needed_bytes(releases, accounting(file_system_type(environment.path)))
    if free.size < need:
        raise FileSystemError(
            f"{environment.path} needs {need >> 20} MiB for its own copies, {free.size >> 20} MiB are free",
            hint="free some space there, or release one distribution: pipm release --dist NAME",
        )
    left: list[SkippedFile] = []
    ready: list[tuple[Release, str]] = []
    shared_state = SharedState()
    with interruptible(shared_state), staging(root) as folder, ExitStack() as stack:
        area = Staging(folder, "0")
        stack.callback(area.close)
        progress.phase("Copying files", len(releases))
        for release_ in releases:
            shared_state.check()
            try:
                ready.append((release_, "" if _in_place(release_) else _copy(root, area, release_)))
            except LeaveAloneError as refusal:
                left.append(SkippedFile(release_.file.shown, refusal.reason))
            shared_state.advance(release_.file.status.st_size)
            progress.advance(*shared_state.done())
        sync_file_system(root)
        for release_, temporary in ready:
            reason = _move(root, area, release_, temporary)
            if reason is not None:
                left.append(SkippedFile(release_.file.shown, reason))
        sync_file_system(root)
    return left


def _in_place(planned: Release) -> bool:
    """Whether a file shares nothing but the time, and its own inode gets that back."""
    return planned.file.private and not planned.file.source


def _copy(root: int, area: Staging, planned: Release) -> str:
    file = planned.file
    with directory_beneath(root, file.directory) as folder:
        if folder is None:
            raise LeaveAloneError(Reason.CHANGING)
        try:
            named = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            source = os.open(file.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if stops_everything(error):
                raise
            raise LeaveAloneError(Reason.UNREADABLE) from error
        try:
            if os.fstat(source).st_ino != file.status.st_ino:
                raise LeaveAloneError(Reason.CHANGING)
            return area.copy_privately(source, _metadata(planned, named))
        finally:
            os.close(source)


def _metadata(planned: Release, named: os.stat_result) -> Metadata:
    """What the copy shall have; *named* is the symlink, where the file is one to the store's."""
    return Metadata(
        mode=planned.mode,
        owner=named.st_uid,
        group=named.st_gid if planned.group is None else planned.group,
        mtime_ns=planned.mtime_ns,
        source=planned.source_times,
    )


def _move(root: int, area: Staging, planned: Release, temporary: str) -> Reason | None:
    """Put the copy in the file's place; returns why not, where it changed since or cannot be replaced."""
    file = planned.file
    with directory_beneath(root, file.directory) as folder:
        if folder is None or not _is_as_it_was(folder, file):
            return Reason.CHANGING
        try:
            if not temporary:
                if os.stat(file.name, dir_fd=folder, follow_symlinks=False).st_nlink != 1:
                    return Reason.CHANGING  # a backup by hard links was made meanwhile
                set_metadata(folder, file.name, _metadata(planned, file.status))
                return None
            with same_folder_time(folder):
                area.move(temporary, folder, file.name)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            return _REFUSALS[error.errno]
    return None


_REFUSALS = {
    errno.EPERM: Reason.PROTECTED,
    errno.EACCES: Reason.NO_WRITE,
    errno.EROFS: Reason.NO_WRITE,  # a mount of its own: here there was room for the copies
    errno.EXDEV: Reason.NO_WRITE,
    errno.EBUSY: Reason.NO_WRITE,
}


def _is_as_it_was(folder: int, file: SharedFile) -> bool:
    try:
        now = os.stat(file.name, dir_fd=folder)  # the stored file's, behind a symlink of ours
    except FileNotFoundError:
        return False
    return all(getattr(now, name) == getattr(file.status, name) for name in _SAME)


_SAME = ("st_ino", "st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid")
"""Not the ctime: a link to the same inode, made in another environment, changes it."""


def _say_unknown(store: Store | None, environment: Environment, progress: Progress, *, lost: int) -> None:
    """Tell a person where it is not known what files were like when they were adopted."""
    if lost:
        progress.note(
            f"{lost} files are hard links that a store made which is not here: they get modes and times back"
            " only where it is named (--store DIR), else but the owner's right to write"
        )
    known = None if store is None else find_root(store, environment.path)
    adopted = known is not None and known.state in (ADOPTING, ADOPTED, PARTLY)
    if store is not None and adopted and read_originals(store, environment.path) is None:
        progress.note(
            "the modes and times that files had before they were adopted were not noted (by an earlier pipm),"
            " or are lost: they stay as the store has them, but for the owner's right to write"
        )


def _forget(store: Store, environment: Environment, names: list[str], *, complete: bool) -> None:
    """Drop the root, or what it says of the released distributions."""
    known = find_root(store, environment.path)
    if known is None or not complete:
        return
    if not names:
        remove_root(store, environment.path)
        return
    gone = tuple(f"{canonicalize_name(name)}/" for name in names)
    entries = tuple(entry for entry in known.entries if not entry.startswith(gone))
    write_root(store, known._replace(entries=entries, state=PARTLY))
