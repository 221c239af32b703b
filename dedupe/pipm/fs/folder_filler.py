"""Filling the folders of an environment with files of the store.

Files are linked by the chosen link mode; a file that cannot be linked (its inode has too many links) is
copied. An existing file is kept if it is the same, else replaced by rename(2), so that it is never missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from pipm.errors import FileSystemError
from pipm.fs.file_content import digest_at
from pipm.fs.link_identical import IdenticalFiles
from pipm.fs.link_modes import LinkMode
from pipm.fs.opened import created, opened
from pipm.fs.os_errors import stops_everything
from pipm.fs.reflinks import clone_contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.fs.staging import Staging

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXECUTABLE = 0o111
_CHUNK = 1 << 20
_FALLS = frozenset(
    {
        errno.EMLINK,  # ext4: 65 000 names of one inode
        errno.EXDEV,
        errno.EPERM,
        errno.EOPNOTSUPP,
        errno.EAGAIN,  # ZFS: the source is not on disk yet
        errno.EINVAL,
        errno.ENOTTY,
    }
)
"""Errors that concern one file: the file system may share others."""


def written_in_place(source: int, names: Iterable[str], times: Iterable[int]) -> str | None:
    """Return the first file of *names* in the store's folder *source* that has another time (ns)."""
    for name, time in zip(names, times, strict=True):
        if os.stat(name, dir_fd=source, follow_symlinks=False).st_mtime_ns != time:
            return name
    return None


class FolderFiller:
    """Fills folders; ``placed`` counts all files, ``copied`` those that could not be linked."""

    def __init__(self, mode: LinkMode, staging: Staging) -> None:
        self.mode = mode
        self.placed = 0
        self.copied = 0
        self._staging = staging
        self._identical = IdenticalFiles(staging)
        self._bytecode_mode: LinkMode = LinkMode.HARDLINK if mode is LinkMode.REFLINK else mode

    def fill(self, source: int, path: str, target: int, names: Iterable[str]) -> None:
        """Link the files *names* of folder *source* (at the absolute *path*) into folder *target*."""
        if self.mode is LinkMode.HARDLINK:
            self._link_all(source, path, target, names)
            return
        place = _PLACES[self.mode]
        for name in names:
            try:
                place(source, path, name, target, name)
            except OSError as error:
                self._odd(error, source, path, name, target, name)
            self.placed += 1

    def _link_all(self, source: int, path: str, target: int, names: Iterable[str]) -> None:
        """Hard-link all *names* with as little work for each as possible."""
        link, count = os.link, 0
        for name in names:
            count += 1
            try:
                link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except OSError as error:
                self._odd(error, source, path, name, target, name)
        self.placed += count

    def fill_real(self, source: int, path: str, target: int, names: Iterable[str]) -> None:
        """Fill as `fill` does, but copy instead of making symlinks, which some programs skip."""
        if self.mode is LinkMode.SYMLINK:
            self.copy(source, target, names)
        else:
            self.fill(source, path, target, names)

    def link_bytecode(
        self, pool: int, path: str, wanted: Iterable[tuple[str, str]], target: int
    ) -> list[str]:
        """Link bytecode of the open *pool* (at *path*) into *target*; return the names that the pool lacks.

        *wanted* are pairs: name in the pool, name in the folder. Python replaces bytecode by rename and never
        changes it in place. So it is hard-linked in the link mode reflink, too.
        """
        mode = self._bytecode_mode
        place = _PLACES[mode]
        missing = []
        for stored, name in wanted:
            try:
                if mode is LinkMode.SYMLINK:
                    os.stat(stored, dir_fd=pool)
                place(pool, path, stored, target, name)
            except FileNotFoundError:
                missing.append(name)
                continue
            except OSError as error:
                if error.errno == errno.EXDEV and self.mode is LinkMode.REFLINK:
                    # Two subvolumes of btrfs share blocks, but no inodes.
                    mode = self._bytecode_mode = LinkMode.REFLINK
                    place = _PLACES[mode]
                self._odd(error, pool, path, stored, target, name, mode)
            self.placed += 1
        return missing

    def copy(self, source: int, target: int, names: Iterable[str]) -> None:
        """Copy the files *names* of folder *source* to folder *target*."""
        for name in names:
            try:
                _copy(source, "", name, target, name)
            except FileExistsError:
                self._replace(LinkMode.COPY, source, "", name, target, name)
            self.placed += 1

    def create_empty(self, target: int, name: str, mtime_ns: int, *, executable: bool) -> None:
        """Make the empty file *name* with the time that its bytecode expects."""
        mode = 0o777 if executable else 0o666
        try:
            file = os.open(name, _CREATE, mode, dir_fd=target)
        except FileExistsError:
            status = os.stat(name, dir_fd=target, follow_symlinks=False)
            if status.st_size or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                temporary = self._staging.name()
                os.close(os.open(temporary, _CREATE, mode, dir_fd=self._staging.directory))
                self._move(temporary, target, name)
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=target, follow_symlinks=False)
        else:
            os.utime(file, ns=(mtime_ns, mtime_ns))
            os.close(file)
        self.placed += 1

    def write(self, target: int, name: str, data: bytes, *, executable: bool = False) -> None:
        """Write the private file *name*; replace an old one, unless it is the same."""
        mode = 0o777 if executable else 0o666
        try:
            _write(target, name, data, mode)
        except FileExistsError:
            temporary = self._staging.name()
            _write(self._staging.directory, temporary, data, mode)
            if _is_alike(self._staging.directory, temporary, target, name):
                os.unlink(temporary, dir_fd=self._staging.directory)
            else:
                self._move(temporary, target, name)

    def write_alike(self, target: int, name: str, data: bytes) -> None:
        """Write a small private file that many folders have; all are one inode where links work."""
        if not self._identical.put(target, name, data):
            self.write(target, name, data)

    def _odd(
        self,
        error: OSError,
        source: int,
        path: str,
        stored: str,
        target: int,
        name: str,
        mode: LinkMode | None = None,
    ) -> None:
        """Handle a file that could not be linked; raise *error* if it concerns all files."""
        if error.errno == errno.EEXIST:
            self._replace(mode or self.mode, source, path, stored, target, name)
        elif error.errno in _FALLS and not stops_everything(error):
            try:
                _copy(source, path, stored, target, name)
            except FileExistsError:
                self._replace(LinkMode.COPY, source, path, stored, target, name)
            self.copied += 1
        else:
            raise error

    def _replace(self, mode: LinkMode, source: int, path: str, stored: str, target: int, name: str) -> None:
        if _is_same(mode, source, path, stored, target, name):
            return
        temporary = self._staging.name()
        try:
            _PLACES[mode](source, path, stored, self._staging.directory, temporary)
        except OSError as error:
            if error.errno not in _FALLS:
                raise
            _copy(source, path, stored, self._staging.directory, temporary)
            self.copied += 1
        self._move(temporary, target, name)

    def _move(self, temporary: str, target: int, name: str) -> None:
        try:
            self._staging.move(temporary, target, name)
        except IsADirectoryError as error:
            raise FileSystemError(
                f"There is a folder {name!r} in the environment where a file belongs",
                hint="move it away and run the same command again",
            ) from error


def _hardlink(source: int, _path: str, stored: str, target: int, name: str) -> None:
    os.link(stored, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _symlink(_source: int, path: str, stored: str, target: int, name: str) -> None:
    os.symlink(f"{path}/{stored}", name, dir_fd=target)


def _new_inode(
    fill: Callable[[int, int, int], None], source: int, stored: str, target: int, name: str
) -> None:
    """Make a new inode with the mode of an ordinary file, so that an edit changes no other file."""
    with opened(os.open(stored, _READ, dir_fd=source)) as file:
        status = os.fstat(file)
        with created(target, name, 0o777 if status.st_mode & _EXECUTABLE else 0o666) as new:
            fill(file, new, status.st_size)
            os.utime(new, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _copy_contents(source: int, target: int, size: int) -> None:
    while size > 0 and (chunk := os.read(source, _CHUNK)):
        _write_all(target, chunk)
        size -= len(chunk)


def _clone_contents(source: int, target: int, _size: int) -> None:
    clone_contents(source, target)


def _reflink(source: int, _path: str, stored: str, target: int, name: str) -> None:
    _new_inode(_clone_contents, source, stored, target, name)


def _copy(source: int, _path: str, stored: str, target: int, name: str) -> None:
    _new_inode(_copy_contents, source, stored, target, name)


_PLACES = {
    LinkMode.HARDLINK: _hardlink,
    LinkMode.SYMLINK: _symlink,
    LinkMode.REFLINK: _reflink,
    LinkMode.COPY: _copy,
}


def _is_same(mode: LinkMode, source: int, path: str, stored: str, target: int, name: str) -> bool:
    """Return whether *name* already is the wanted file.

    Mode, size and time are compared first, then the bytes: after a power cut a copy may have the right time
    and size, but other bytes.
    """
    there = os.stat(name, dir_fd=target, follow_symlinks=False)
    if mode is LinkMode.SYMLINK:
        return stat.S_ISLNK(there.st_mode) and os.readlink(name, dir_fd=target) == f"{path}/{stored}"
    wanted = os.stat(stored, dir_fd=source, follow_symlinks=False)
    if mode is LinkMode.HARDLINK:
        return there.st_ino == wanted.st_ino
    alike = (there.st_mode & ~0o777, there.st_size, there.st_mtime_ns, there.st_nlink) == (
        wanted.st_mode & ~0o777,
        wanted.st_size,
        wanted.st_mtime_ns,
        1,
    )
    return alike and digest_at(target, name) == digest_at(source, stored)


def _is_alike(source: int, new: str, target: int, name: str) -> bool:
    """Return whether *name* in *target* is a file of its own with the bytes and the mode of *new*."""
    with contextlib.suppress(OSError):
        wanted, there = (
            os.stat(one, dir_fd=at, follow_symlinks=False) for one, at in ((new, source), (name, target))
        )
        same = (there.st_mode, there.st_size, there.st_nlink) == (wanted.st_mode, wanted.st_size, 1)
        return same and digest_at(target, name) == digest_at(source, new)
    return False


def _write(target: int, name: str, data: bytes, mode: int) -> None:
    file = os.open(name, _CREATE, mode, dir_fd=target)
    try:
        _write_all(file, data)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
