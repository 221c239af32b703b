"""Link modes, and a trial that shows which of them work between two directories.

`st_dev` is no answer: reflinks work across bind mounts and btrfs subvolumes, where link(2) fails with EXDEV,
and NFS reports wrong results. So each run tries it with a real file.
"""

from __future__ import annotations

import contextlib
import errno
import os
from enum import Enum

from pipm.errors import FileSystemError, LinkingImpossibleError, UsageError
from pipm.fs.opened import created, opened
from pipm.fs.os_errors import explain_os_error, stops_everything

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_BLOCK = 8192
"""Bytes of the trial file; btrfs stores smaller files inline."""


class LinkMode(Enum):
    """How a file of the store appears in an environment."""

    REFLINK = "reflink"
    HARDLINK = "hardlink"
    FINDER = "finder"
    """No files: Python imports modules from the store. No single file has this mode."""
    SYMLINK = "symlink"
    COPY = "copy"


AUTO = (LinkMode.REFLINK, LinkMode.HARDLINK)
"""The order of ``--link-mode auto``; reflinks come first, because an edit of such a file stays private."""


class OneWayError(OSError):
    """Links work from the store to the environment, but not from the environment to the store."""


def parse_link_mode(text: str) -> LinkMode | None:
    """Return the link mode for the value of ``--link-mode``; None for ``auto`` and for an empty text."""
    if text in ("", "auto"):
        return None
    try:
        return LinkMode(text)
    except ValueError:
        known = ", ".join(["auto", *(mode.value for mode in LinkMode)])
        raise UsageError(f"There is no link mode {text!r}", hint=f"choose one of {known}") from None


def choose_link_mode(wanted: LinkMode | None, store: int, path: str, target: int) -> LinkMode:
    """Return the first mode that works from directory *store* (at *path*) to directory *target*.

    Tries only *wanted*, or the modes of `AUTO` if it is None. Raises LinkingImpossibleError with the reason
    for each mode, and FileSystemError if the disk is full, read-only or broken, or if links work in one
    direction only.
    """
    refusals = []
    one_way = False
    for mode in AUTO if wanted is None else (wanted,):
        try:
            probe_link_mode(mode, store, path, target)
        except OSError as error:
            if stops_everything(error):
                raise explain_os_error(error, "try a link between the store and the environment") from error
            one_way = one_way or isinstance(error, OneWayError)
            refusals.append(f"{mode.value}: {os.strerror(error.errno or errno.EIO)}")
        else:
            return mode
    if one_way:
        raise FileSystemError(
            "Links work from the store to the environment, but not from the environment to the store"
            f" ({refusals[-1]}): one of the two may be in an encrypted folder, which can be locked",
            hint="choose a store near the environment with --store DIR; or, if the store can always be read,"
            " --link-mode finder",
        )
    raise LinkingImpossibleError("; ".join(refusals))


def can_hardlink(store: int, path: str, target: int) -> bool:
    """Return whether link(2) works from directory *store* to directory *target*."""
    try:
        probe_link_mode(LinkMode.HARDLINK, store, path, target)
    except OSError as error:
        if stops_everything(error):
            raise explain_os_error(error, "try a link between the store and the environment") from error
        return False
    return True


def probe_link_mode(mode: LinkMode, store: int, path: str, target: int) -> None:
    """Try *mode* with a real file from *store* to *target*, and back; raise OSError if it does not work.

    A file system may allow only one direction. A link out of an encrypted folder works, but cannot be read
    while the folder is locked (fscrypt); a link into it is refused.
    """
    _try(mode, store, path, target)
    if mode in AUTO:
        try:
            _try(mode, target, "", store)
        except OSError as error:
            if stops_everything(error):
                raise
            raise OneWayError(error.errno, os.strerror(error.errno or errno.EIO)) from error


def _try(mode: LinkMode, store: int, path: str, target: int) -> None:
    content = os.urandom(_ONE_BLOCK)
    with _trial_file(store, content) as name:
        try:
            place_file(mode, store, f"{path}/{name}" if mode is LinkMode.SYMLINK else name, target, name)
            _check(mode, store, target, name, content)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=target)


def place_file(mode: LinkMode, store: int, source: str, target: int, name: str) -> None:
    """Make *source* of directory *store* appear as the new *name* in directory *target*."""
    match mode:
        case LinkMode.HARDLINK:
            os.link(source, name, src_dir_fd=store, dst_dir_fd=target, follow_symlinks=False)
        case LinkMode.SYMLINK:
            os.symlink(source, name, dir_fd=target)  # here *source* is an absolute path
        case LinkMode.REFLINK | LinkMode.COPY:
            with opened(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store)) as file:
                status = os.fstat(file)
                if mode is LinkMode.REFLINK:
                    from pipm.fs.reflinks import clone_into  # noqa: PLC0415 - other modes do not need it

                    clone_into(file, target, name, status.st_mode & 0o777)
                else:
                    copy_into(file, target, name, status.st_mode & 0o777)
                os.utime(
                    name,
                    ns=(status.st_atime_ns, status.st_mtime_ns),
                    dir_fd=target,
                    follow_symlinks=False,
                )
        case LinkMode.FINDER:
            raise OSError(errno.EOPNOTSUPP, "the finder makes no files")


def copy_into(source: int, directory: int, name: str, mode: int) -> None:
    """Make *name* in *directory* a new file with the bytes of the open file *source*, and *mode*."""
    with created(directory, name) as target:
        os.lseek(source, 0, os.SEEK_SET)
        while chunk := os.read(source, 1 << 20):
            view = memoryview(chunk)
            while view:
                view = view[os.write(target, view) :]
        os.fchmod(target, mode)


@contextlib.contextmanager
def _trial_file(directory: int, content: bytes) -> Iterator[str]:
    name = f"trial-{os.urandom(8).hex()}"
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        try:
            os.write(file, content)
        finally:
            os.close(file)
        yield name
    finally:
        os.unlink(name, dir_fd=directory)


def _check(mode: LinkMode, store: int, target: int, name: str, content: bytes) -> None:
    mine = os.stat(name, dir_fd=store)
    yours = os.stat(name, dir_fd=target, follow_symlinks=mode is LinkMode.SYMLINK)
    shares_inode = (mine.st_dev, mine.st_ino) == (yours.st_dev, yours.st_ino)
    # BeeGFS may make a symlink for link(2) across folders.
    if shares_inode != (mode in (LinkMode.HARDLINK, LinkMode.SYMLINK)):
        raise OSError(errno.EOPNOTSUPP, "the link differs from the request")
    with opened(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=target)) as file:
        if os.read(file, len(content) + 1) != content:
            raise OSError(errno.EIO, "the linked file has other bytes")
