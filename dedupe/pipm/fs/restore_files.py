"""Repairing stored files: a new inode replaces each old name atomically."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from pipm.fs.file_content import digest_file
from pipm.fs.link_modes import copy_into
from pipm.fs.opened import opened
from pipm.fs.reflinks import clone_into
from pipm.fs.share_file import set_status

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.fs.share_file import NewFile

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def copy_if(source: int, new: NewFile, digest: Digest, mode: int, mtime_ns: int | None = None) -> bool:
    """Copy the open file *source* to *new* (by reflink if possible); return False if its digest is another.

    The copy has the time *mtime_ns*, or the current time.
    """
    try:
        clone_into(source, new.directory, new.name, mode)
    except OSError:
        copy_into(source, new.directory, new.name, mode)
    with opened(os.open(new.name, _READ, dir_fd=new.directory)) as file:
        # Check the copy, not the source, which may change meanwhile.
        good = digest_file(file, os.fstat(file).st_size) == digest
        if good and mtime_ns is not None:
            os.utime(file, ns=(mtime_ns, mtime_ns))
    if not good:
        os.unlink(new.name, dir_fd=new.directory)
    return good


def rename_over(new: NewFile, directory: int, path: str) -> None:
    """Link the finished file *new* to *path* below *directory*; replace a file or an empty folder there."""
    temporary = f"{new.name}-name"
    os.link(new.name, temporary, src_dir_fd=new.directory, dst_dir_fd=new.directory, follow_symlinks=False)
    try:
        _make_way(directory, path)
        os.rename(temporary, path, src_dir_fd=new.directory, dst_dir_fd=directory)
    finally:
        with contextlib.suppress(FileNotFoundError):  # it stays if both names have one inode (rename(2))
            os.unlink(temporary, dir_fd=new.directory)


def _make_way(directory: int, path: str) -> None:
    folder = os.path.dirname(path)
    if folder:
        with contextlib.suppress(FileExistsError):
            try:
                os.mkdir(folder, 0o700, dir_fd=directory)
            except FileNotFoundError:
                _make_way(directory, folder)
                os.mkdir(folder, 0o700, dir_fd=directory)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(path, dir_fd=directory, follow_symlinks=False).st_mode):
            os.rmdir(path, dir_fd=directory)


def set_back(directory: int, path: str, mode: int, mtime_ns: int) -> None:
    """Restore the permissions and the time of the regular file *path* below *directory*."""
    with opened(os.open(path, _READ, dir_fd=directory)) as file:
        set_status(file, mode, mtime_ns)


def set_mode(directory: int, name: str, mode: int) -> None:
    """Set the permissions of the regular file *name* in *directory*."""
    with opened(os.open(name, _READ, dir_fd=directory)) as file:
        os.fchmod(file, mode)
