"""`pipm release`: give an environment its own copies again."""

from __future__ import annotations

import os
import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.core.reasons import Reason
from pipm.core.record import Place, source_of_bytecode
from pipm.env.installed import installed, place_in_environment
from pipm.errors import FileSystemError, UsageError
from pipm.fs.beneath import directory_beneath
from pipm.fs.faults import explained, stops_everything
from pipm.fs.replace import Staging, staging
from pipm.fs.share import LeaveAloneError, same_folder_time
from pipm.fs.space import accounting, file_system_type, free_space
from pipm.fs.sync import sync_file_system
from pipm.fs.usage import shares_extents
from pipm.fs.walk import inode_counts, walk_entries
from pipm.ops.crew import Pulse, interruptible
from pipm.ops.holding import checked_environment, held
from pipm.ops.tally import Left
from pipm.pip.inject import withdraw
from pipm.plan.release import Release, SharedFile, needed_bytes, plan_release
from pipm.store.layout import open_store
from pipm.store.roots import PARTLY, find_root, remove_root, write_root

if TYPE_CHECKING:
    from pipm.env.environment import Environment
    from pipm.ops.progress import Progress
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
    left: tuple[Left, ...]
    bytes_used: int
    seconds: float


def release(store_path: str, path: str, names: list[str], progress: Progress, *, dry_run: bool) -> Released:
    """Give the environment at *path* (or its distributions *names* alone) private copies.

    Until all copies are on disk nothing of the environment is touched. Raises PipmError.
    """
    started = time.monotonic()
    environment = checked_environment(store_path, path)
    store = open_store(store_path, create=False)
    if store is None:
        return _nothing(environment, started)
    try:
        with held(store, environment, progress) as root:
            chosen, distributions = _chosen(environment, root, names)
            total, shared = _shared_files(store, environment, chosen)
            releases = plan_release(shared, _umask())
            left = [] if dry_run else _apply(environment, root, releases, progress)
            if not dry_run and not names:
                withdraw(environment)
            if not dry_run:
                _forget(store, environment, names, complete=not left)
    except OSError as error:
        raise explained(error, f"release {path}") from error
    finally:
        progress.done()
    known = find_root(store, environment.path)
    return Released(
        path=environment.path,
        python=environment.python,
        link_mode="copy" if known is None else known.link_mode,
        distributions=distributions,
        files=total,
        files_released=len(releases) - len(left),
        left=tuple(left),
        bytes_used=needed_bytes(releases, accounting(file_system_type(environment.path))),
        seconds=time.monotonic() - started,
    )


def _nothing(environment: Environment, started: float) -> Released:
    return Released(
        path=environment.path,
        python=environment.python,
        link_mode="copy",
        distributions=0,
        files=0,
        files_released=0,
        left=(),
        bytes_used=0,
        seconds=time.monotonic() - started,
    )


def _chosen(environment: Environment, root: int, names: list[str]) -> tuple[frozenset[str] | None, int]:
    """The paths (sources without suffix, for their bytecode) of the distributions *names*; None: all."""
    distributions = installed(environment, root)
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
        if location.place is not Place.OUTSIDE
    }
    return frozenset(paths), len(found)


def _bytecode_key(path: str) -> str:
    """The same key for a source and its bytecode: ``a/b.py`` and ``a/__pycache__/b.cpython-312.pyc``."""
    folder, _, name = path.rpartition("/")
    if folder.endswith("/__pycache__") and name.endswith(".pyc"):
        return f"{folder[: -len('/__pycache__')]}/{source_of_bytecode(name) or name}"
    return path


def _shared_files(
    store: Store, environment: Environment, chosen: frozenset[str] | None
) -> tuple[int, list[SharedFile]]:
    """Walk the environment for what it shares: stored inodes, shared extents, links into the store."""
    device = os.fstat(store.objects).st_dev
    stored = inode_counts(f"{store.path}/v1")
    total = 0
    found = []
    for directory, entry in walk_entries(environment.path):
        if chosen is not None and _bytecode_key(f"{directory}/{entry.name}") not in chosen:
            continue
        total += 1
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            # One whose target is gone stays as it is: there is nothing left to copy.
            if os.readlink(entry.path).startswith(f"{store.path}/") and os.path.exists(entry.path):
                found.append(SharedFile(directory, entry.name, os.stat(entry.path)))
        elif stat.S_ISREG(status.st_mode) and status.st_size:
            by_inode = status.st_dev == device and status.st_ino in stored
            if by_inode or (status.st_nlink == 1 and shares_extents(entry.path)):
                found.append(SharedFile(directory, entry.name, status))
    return total, found


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _apply(environment: Environment, root: int, releases: list[Release], progress: Progress) -> list[Left]:
    """Copy all, sync, then rename all: a power cut finds each file shared or private, and whole."""
    free = free_space(environment.path)
    need = needed_bytes(releases, accounting(file_system_type(environment.path)))
    if free.size < need:
        raise FileSystemError(
            f"{environment.path} needs {need >> 20} MiB for its own copies, {free.size >> 20} MiB are free",
            hint="free some space there, or release one distribution: pipm release --dist NAME",
        )
    left: list[Left] = []
    copies: list[tuple[Release, str]] = []
    pulse = Pulse()
    with interruptible(pulse), staging(root) as folder, ExitStack() as stack:
        area = Staging(folder, "0")
        stack.callback(area.close)
        progress.phase("Copying files", len(releases))
        for release_ in releases:
            pulse.check()
            try:
                copies.append((release_, _copy(root, area, release_)))
            except LeaveAloneError as refusal:
                left.append(Left(release_.file.shown, refusal.reason))
            pulse.advance(release_.file.status.st_size)
            progress.advance(*pulse.done())
        sync_file_system(root)
        for release_, temporary in copies:
            if not _move(root, area, release_, temporary):
                left.append(Left(release_.file.shown, Reason.CHANGING))
        sync_file_system(root)
    return left


def _copy(root: int, area: Staging, planned: Release) -> str:
    file = planned.file
    with directory_beneath(root, file.directory) as folder:
        if folder is None:
            raise LeaveAloneError(Reason.CHANGING)
        try:
            source = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if stops_everything(error):
                raise
            raise LeaveAloneError(Reason.UNREADABLE) from error
        try:
            if os.fstat(source).st_ino != file.status.st_ino:
                raise LeaveAloneError(Reason.CHANGING)
            return area.copy(source, planned.mode, file.status.st_mtime_ns)
        finally:
            os.close(source)


def _move(root: int, area: Staging, planned: Release, temporary: str) -> bool:
    """Put the copy in the file's place, unless that changed since it was copied."""
    file = planned.file
    with directory_beneath(root, file.directory) as folder:
        if folder is None or not _is_as_it_was(folder, file):
            return False
        with same_folder_time(folder):
            area.move(temporary, folder, file.name)
    return True


def _is_as_it_was(folder: int, file: SharedFile) -> bool:
    try:
        now = os.stat(file.name, dir_fd=folder)  # the stored file's, behind a symlink of ours
    except FileNotFoundError:
        return False
    was = file.status
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (was.st_ino, was.st_size, was.st_mtime_ns)


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
