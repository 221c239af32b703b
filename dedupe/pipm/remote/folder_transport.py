"""A remote in a directory: on a local disk, on a network's disk, or the files of a web server."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from pipm.core.digest import Digest
from pipm.errors import RemoteError
from pipm.fs.flock import locked
from pipm.fs.own_files import remove_file, write_shared_file
from pipm.remote.transport import LARGEST_INDEX, StoredFile, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO


class FolderTransport:
    """The files of a remote below a directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, name: str) -> tuple[list[bytes], Version]:
        """Read a whole file."""
        try:
            with _opened(f"{self.path}/{name}") as stream:
                data = stream.read(LARGEST_INDEX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return [], Version(None)
        except OSError as error:
            raise _failed(f"{self.path}/{name}", error) from error
        return [data], Version(Digest.of(data).hex())

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Read a part of a file."""
        try:
            with _opened(f"{self.path}/{name}") as stream:
                data = os.pread(stream.fileno(), length, start)
        except OSError as error:
            raise _failed(f"{self.path}/{name}", error) from error
        if len(data) != length:
            raise RemoteError(f"{self.path}/{name} is shorter than its manifest says")
        return data

    def check_writable(self) -> None:
        """Write a file: on a network's disk only a trial tells."""

    def modified(self, name: str) -> float | None:
        """Return the time of a file."""
        try:
            return os.stat(f"{self.path}/{name}").st_mtime
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file: temporary, sync, rename."""
        path = f"{self.path}/{name}"
        try:
            write_shared_file(path, data)
        except OSError as error:
            raise _failed(path, error) from error

    def swap(self, name: str, data: bytes, seen: Version, _packs: Mapping[str, int]) -> bool:
        """Compare and replace while holding a lock."""
        lock = f"{self.path}/lock"
        if not os.path.exists(lock):
            self.write("lock", b"")
        with locked(lock, what=f"the remote {self.path}", create=False):
            if self.read(name)[1] != seen:
                return False
            self.write(name, data)
        return True

    def stored(self) -> list[StoredFile]:
        """List the files, with temporary ones of interrupted pushes."""
        found = []
        for folder, _, names in os.walk(f"{self.path}/v1", onerror=self._unreadable):
            for name in names:
                path = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(path)
                    found.append(
                        StoredFile(os.path.relpath(path, self.path), status.st_mtime, status.st_size)
                    )
        return found

    def _unreadable(self, error: OSError) -> None:
        raise _failed(str(error.filename), error) from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove files."""
        for name in names:
            try:
                with contextlib.suppress(FileNotFoundError):
                    remove_file(f"{self.path}/{name}")
            except OSError as error:
                raise _failed(f"{self.path}/{name}", error) from error


def _opened(path: str) -> BinaryIO:
    """Open a file without waiting if it is a pipe: others can write to the directory."""
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is not a file")
    return stream


def _failed(path: str, error: OSError) -> RemoteError:
    return RemoteError(
        f"Cannot use the remote's {path}: {error.strerror}",
        hint="check that it is mounted and that you may use it",
    )
