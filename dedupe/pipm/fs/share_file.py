"""Sharing one file of an environment with the store, after its bytes were compared.

Theory of operation. A file is opened for reading without following links, and a read lease is taken. The
kernel refuses the lease exactly if a process has the file open for writing; a later writer waits for its end.
Then the bytes are hashed (new content) or compared (known content). Only then the file is shared:

- hardlink: new content keeps its inode and its time; the inode gets a second name in the store. Known
  content is replaced by a link to the stored inode under a temporary name and rename(2).
- reflink: the store gets a new inode over the same blocks; known content is shared by FIDEDUPERANGE, in
  which the kernel compares. The environment's inode, mode and name never change.

An inode with further names may be a file of another environment, of a tool's cache or of a backup. Its mode,
its time and its bytes are never changed. The steps that can fail come first and change nothing.

An environment's file is never opened for writing: if a mapped ``.so`` is rewritten in place, even with the
same bytes, the process that maps it dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from pipm.core.digest import Digest
from pipm.core.named_tuple import NamedTuple
from pipm.core.reasons import Reason
from pipm.fs.durability import begin_writing
from pipm.fs.file_content import same_bytes
from pipm.fs.link_modes import copy_into
from pipm.fs.opened import opened
from pipm.fs.os_errors import stops_everything
from pipm.fs.read_lease import Lease, take_read_lease
from pipm.fs.reflinks import Extent, clone_into, dedupe, extents
from pipm.fs.xattrs import LABEL, attribute_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGE = 1 << 16
"""Bytes of a file from which on it is worth a system call to begin writing it to the disk."""
_OURS = 2
"""The number of names of an inode that has one name in an environment and one in the store."""


class LeaveAloneError(Exception):
    """A file cannot be shared, for *reason*; nothing was changed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class LeasedFile(NamedTuple):
    """A file of an environment, open for reading under a lease; the caller closes ``file``."""

    directory: int
    name: str
    file: int
    status: os.stat_result
    lease: Lease
    labelled: bool = False
    """True if a security module gave it a label; files with other attributes are not opened."""

    def unchanged(self) -> bool:
        """Return whether nothing was written since it was opened; a lease guarantees this."""
        if self.lease is Lease.GRANTED:
            return True
        now = os.fstat(self.file)
        return (now.st_size, now.st_mtime_ns) == (self.status.st_size, self.status.st_mtime_ns)


_REASONS = {
    errno.ELOOP: Reason.SYMLINK,
    errno.ENOENT: Reason.MISSING,
    errno.EACCES: Reason.UNREADABLE,
    errno.EPERM: Reason.PROTECTED,
    errno.ETXTBSY: Reason.OPEN,
}


def open_leased(directory: int, name: str, inode: int) -> LeasedFile:
    """Open *name* in *directory* for sharing; raise LeaveAloneError if the file cannot be shared.

    *inode* is the inode that the plan has for the file. No context manager, because this runs for each file.
    """
    file = os.open(name, _READ, dir_fd=directory)
    try:
        status = os.fstat(file)
        lease = take_read_lease(file)
        attributes = attribute_names(file)
        reason = None
        if status.st_ino != inode:
            reason = Reason.CHANGING
        elif lease is Lease.REFUSED:
            reason = Reason.OPEN
        elif not attributes <= {LABEL}:
            reason = Reason.ATTRIBUTES
    except BaseException:
        os.close(file)
        raise
    if reason is not None:
        os.close(file)
        raise LeaveAloneError(reason)
    return LeasedFile(directory, name, file, status, lease, bool(attributes))


def left_alone(error: OSError) -> LeaveAloneError:
    """Return LeaveAloneError for an *error* of one file; raise *error* itself if it concerns all files."""
    if stops_everything(error):
        raise error
    return LeaveAloneError(_REASONS.get(error.errno or 0, Reason.NO_LINK))


class Stored(NamedTuple):
    """Permission bits and modification time of a file of the store."""

    mode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return both of *status*."""
        return cls(stat.S_IMODE(status.st_mode), status.st_mtime_ns)


def give_inode(source: LeasedFile, store: int, name: str, mode: int, further: int = 0) -> Stored | None:
    """Link the inode of *source* as *name* below directory *store*.

    The inode keeps its time. It gets *mode* if it has no other names than *source*, *further* more in
    environments, and the new one in the store. Returns None if *name* exists: another process was faster.
    """
    try:
        os.link(source.name, name, src_dir_fd=source.directory, dst_dir_fd=store, follow_symlinks=False)
    except FileExistsError:
        finish_mode(source, store, name, mode)
        return None
    status = os.stat(name, dir_fd=store, follow_symlinks=False)
    if status.st_ino != source.status.st_ino:
        # Another file got the name between open and link: it must not come into the store.
        os.unlink(name, dir_fd=store)
        raise LeaveAloneError(Reason.CHANGING)
    stored = Stored.of(status)
    if status.st_nlink == _OURS + further and stored.mode != mode:
        os.fchmod(source.file, mode)
        stored = stored._replace(mode=mode)
    return stored


def finish_mode(source: LeasedFile, store: int, name: str, mode: int) -> None:
    """Set the *mode* of *source* if a killed run linked it as *name* of *store* but did not set the mode.

    Such an inode has exactly two names: no entry and no foreign name uses it yet.
    """
    status = os.stat(name, dir_fd=store, follow_symlinks=False)
    ours = status.st_ino == source.status.st_ino and status.st_nlink == _OURS
    if ours and stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(source.file, mode)


def set_back_status(source: LeasedFile) -> None:
    """Restore the mode and the time that *source* had when it was opened."""
    os.fchmod(source.file, stat.S_IMODE(source.status.st_mode))
    os.utime(source.file, ns=(source.status.st_atime_ns, source.status.st_mtime_ns))


class NewFile(NamedTuple):
    """A temporary file for the store, in a private folder of this run."""

    directory: int
    name: str


def give_clone(source: LeasedFile, new: NewFile, store: int, name: str, mode: int) -> Stored | None:
    """Make *name* below directory *store* a reflink of *source* with the same time; None if *name* exists."""
    stored = Stored(mode, source.status.st_mtime_ns)
    clone_into(source.file, new.directory, new.name, mode)
    try:
        os.utime(new.name, ns=(stored.mtime_ns, stored.mtime_ns), dir_fd=new.directory)
        created = give_name(new, store, name)
    finally:
        os.unlink(new.name, dir_fd=new.directory)
    return stored if created else None


def give_copy(source: LeasedFile, new: NewFile, mode: int) -> Stored:
    """Copy *source* to *new* with its time; the caller syncs *new* before `give_name` publishes it."""
    stored = Stored(mode, source.status.st_mtime_ns)
    copy_into(source.file, new.directory, new.name, mode)
    os.utime(new.name, ns=(stored.mtime_ns, stored.mtime_ns), dir_fd=new.directory)
    return stored


def second_inode(source: LeasedFile, new: NewFile, stored: Stored, *, link: bool) -> None:
    """Make *new* an inode with the bytes of *source* and the mode and time of *stored*.

    This is for an object whose inode can have no more names, or no more references to its blocks. With *link*
    the new inode is that of *source*, which must have no other name; else it is a reflink. Raises OSError.
    """
    if link:
        if source.status.st_nlink != 1:
            raise LeaveAloneError(Reason.NO_LINK)
        os.link(
            source.name,
            new.name,
            src_dir_fd=source.directory,
            dst_dir_fd=new.directory,
            follow_symlinks=False,
        )
        if os.stat(new.name, dir_fd=new.directory, follow_symlinks=False).st_ino != source.status.st_ino:
            os.unlink(new.name, dir_fd=new.directory)
            raise LeaveAloneError(Reason.CHANGING)
        os.fchmod(source.file, stored.mode)
    else:
        clone_into(source.file, new.directory, new.name, stored.mode)
    os.utime(new.name, ns=(stored.mtime_ns, stored.mtime_ns), dir_fd=new.directory)


def write_new_file(
    new: NewFile,
    chunks: Iterable[bytes],
    mode: int,
    mtime_ns: int | None = None,
    *,
    lasting: bool = False,
    path: str | None = None,
) -> tuple[Digest, int]:
    """Write *new* with *mode*, and with a time unless it is None; return digest and size. Nothing is synced.

    If the file is *lasting*, the kernel begins to write its bytes to the disk. With a *path* the finished
    file is renamed to that, below the same directory. If writing fails, *new* is removed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    import hashlib  # noqa: PLC0415 - OpenSSL's sha256 is the fastest, but takes a while to load

    state = hashlib.sha256()
    size = 0
    file = os.open(new.name, flags, 0o600, dir_fd=new.directory)
    try:
        with opened(file):
            for chunk in chunks:
                state.update(chunk)
                size += len(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(file, rest) :]
            if mtime_ns is not None:
                os.utime(file, ns=(mtime_ns, mtime_ns))
            os.fchmod(file, mode)
            if lasting and size >= _LARGE:
                begin_writing(file)
        if path is not None:
            os.rename(new.name, path, src_dir_fd=new.directory, dst_dir_fd=new.directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new.name, dir_fd=new.directory)
        raise
    return Digest(state.digest()), size


def give_name(new: NewFile, store: int, name: str) -> bool:
    """Link the finished file *new* as *name* below directory *store*; return False if *name* exists."""
    try:
        os.link(new.name, name, src_dir_fd=new.directory, dst_dir_fd=store, follow_symlinks=False)
    except FileExistsError:
        return False
    return True


def rename_over(new: NewFile, store: int, name: str) -> None:
    """Rename the finished file *new* to *name* below directory *store*, which may have an older one."""
    os.rename(new.name, name, src_dir_fd=new.directory, dst_dir_fd=store)


def bring_file(source: int, name: str, new: NewFile, *, link: bool, copy: bool) -> bool:
    """Make *new* a hard link (if *link*), a reflink or a copy (if *copy*) of the file *name* of *source*.

    *new* has the same mode and time. Return False if no allowed way works.
    """
    if link:
        with contextlib.suppress(OSError):  # EXDEV, EPERM, EMLINK: try the next way
            os.link(name, new.name, src_dir_fd=source, dst_dir_fd=new.directory, follow_symlinks=False)
            return True
    file = os.open(name, _READ, dir_fd=source)
    try:
        mode, mtime_ns = Stored.of(os.fstat(file))
        try:
            clone_into(file, new.directory, new.name, mode)
        except OSError:
            if not copy:
                return False
            copy_into(file, new.directory, new.name, mode)
    finally:
        os.close(file)
    os.utime(new.name, ns=(mtime_ns, mtime_ns), dir_fd=new.directory)
    return True


def ensure_folder(parent: int, name: str, mode: int = 0o777) -> None:
    """Make the folder *name* in the open folder *parent* with *mode* minus the umask, unless it exists."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)


def forget_folder(parent: int, name: str) -> bool:
    """Remove the folder *name* from the open folder *parent* if it is empty; return whether it is gone."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return False
    return True


def write_text(parent: int, name: str, text: str) -> None:
    """Write the new file *name* in the open folder *parent*, for another program to read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=parent), "w", encoding="utf-8") as stream:
        stream.write(text)


def same_files(new: NewFile, store: int, name: str) -> bool:
    """Return whether *new* and the stored file *name* have the same bytes."""
    one = os.open(new.name, _READ, dir_fd=new.directory)
    try:
        other = os.open(name, _READ, dir_fd=store)
        try:
            return same_bytes(one, other, os.fstat(one).st_size)
        finally:
            os.close(other)
    finally:
        os.close(one)


def forget(store: int, name: str) -> None:
    """Remove a stored file that does not match its name; other hard links to it stay."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=store)


def set_time(directory: int, name: str, mtime_ns: int) -> None:
    """Set the modification time of *name* in *directory* (and its access time, to the same)."""
    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)


def set_status(file: int, mode: int, mtime_ns: int) -> None:
    """Set the permission bits and the modification time of the open *file*."""
    os.fchmod(file, mode)
    os.utime(file, ns=(mtime_ns, mtime_ns))


def set_time_of(file: int, mtime_ns: int) -> None:
    """Set the modification time of the open *file* (and its access time, to the same)."""
    os.utime(file, ns=(mtime_ns, mtime_ns))


def touch(file: int) -> None:
    """Set the modification time of the open *file* or folder to now."""
    os.utime(file)


def share_blocks(stored: int, target: LeasedFile, mtime_ns: int) -> int | None:
    """Let *target* share the blocks of the open file *stored*; return None if the two differ.

    *target* gets the time *mtime_ns* of *stored*, unless it has another name. Returns the bytes of blocks
    that this frees.
    """
    size = target.status.st_size
    mine = extents(target.file)
    if mine and all(extent.inline for extent in mine):  # part of the inode: sharing it would free nothing
        if os.pread(stored, size + 1, 0) != os.pread(target.file, size + 1, 0):
            return None
    elif not (_all_shared(mine) and mine == extents(stored)) and (
        os.fstat(stored).st_size != size or not dedupe(stored, target.file, size)
    ):
        return None
    if target.status.st_nlink == 1 and target.status.st_mtime_ns != mtime_ns:
        os.utime(target.file, ns=(mtime_ns, mtime_ns))
    return sum(extent.size for extent in mine if not extent.shared and not extent.inline)


def _all_shared(mine: list[Extent]) -> bool:
    return bool(mine) and all(extent.shared and extent.allocated and not extent.inline for extent in mine)
