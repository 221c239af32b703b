"""A remote in a directory: on this disk, on a network's, or what a web server serves."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from pipm.core.digest import Digest
from pipm.errors import RemoteError
from pipm.fs.flock import locked
from pipm.fs.own_files import write_shared_file
from pipm.remote.transport import LARGEST_INDEX, Version

if TYPE_CHECKING:
    from typing import BinaryIO


class FolderTransport:
    """The files of a remote below a directory."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """Read a file whole."""
        try:
            with _opened(f"{self._path}/{name}") as stream:
                data = stream.read(LARGEST_INDEX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failed(f"{self._path}/{name}", error) from error
        return data, Version(Digest.of(data).hex())

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Read a part of a file."""
        try:
            with _opened(f"{self._path}/{name}") as stream:
                data = os.pread(stream.fileno(), length, start)
        except OSError as error:
            raise _failed(f"{self._path}/{name}", error) from error
        if len(data) != length:
            raise RemoteError(f"{self._path}/{name} is shorter than its manifest says")
        return data

    def check_writable(self) -> None:
        """Try by writing: a network's disk tells no other way."""

    def has(self, name: str) -> bool:
        """Look for a file."""
        return os.path.isfile(f"{self._path}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file: temporary, sync, rename."""
        path = f"{self._path}/{name}"
        try:
            write_shared_file(path, data)
        except OSError as error:
            raise _failed(path, error) from error

    def swap(self, name: str, data: bytes, seen: Version) -> bool:
        """Compare and replace under a lock."""
        lock = f"{self._path}/lock"
        if not os.path.exists(lock):
            self.write("lock", b"")
        with locked(lock, what=f"the remote {self._path}", create=False):
            known = self.read(name)
            if (Version(None) if known is None else known[1]) != seen:
                return False
            self.write(name, data)
        return True


def _opened(path: str) -> BinaryIO:
    """Open a file that others may have put there: no pipe is waited for."""
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no file")
    return stream


def _failed(path: str, error: OSError) -> RemoteError:
    return RemoteError(f"Cannot use the remote's {path}: {error.strerror}", hint="is it mounted, and yours?")
