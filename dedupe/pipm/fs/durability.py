"""Writing files durably: one syncfs for a batch, one fsync for a small file."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from functools import cache

from pipm.core.named_tuple import NamedTuple
from pipm.fs.opened import created, opened_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

_RANDOM = 16
"""Hexadecimal digits that end the name of a file being written: ``.NAME.0123456789abcdef``."""


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _libc() -> Any:  # noqa: ANN401 - ctypes gives no better type
    import ctypes  # noqa: PLC0415 - takes a millisecond, and few commands sync a file system

    return ctypes.CDLL(None, use_errno=True)


def sync_file_system(file: int) -> None:
    """Write all dirty data of the file system of *file*; raises OSError.

    syncfs(2) reports an error only once: the caller must drop the whole batch and not try again.
    """
    if sys.platform != "linux":
        os.sync()
        return
    if _libc().syncfs(file):
        from ctypes import get_errno  # noqa: PLC0415 - imported already

        number = get_errno()
        raise OSError(number, os.strerror(number))


def begin_writing(file: int) -> None:
    """Begin to write the open *file* to the disk, so that the sync of the file system waits less for it."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - likewise

        _libc().sync_file_range(file, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def sync_tree(path: str) -> None:
    """Write all dirty data of the file system of the directory *path*; raises OSError."""
    with opened_folder(path) as directory:
        sync_file_system(directory)


def sync_file_systems(files: Iterable[int]) -> None:
    """Sync the file system of each open file, each once."""
    for file in {os.fstat(file).st_dev: file for file in files}.values():
        sync_file_system(file)


@contextlib.contextmanager
def writing_ahead(files: Sequence[int], pause: float) -> Iterator[None]:
    """Sync the file systems of the open *files* in a thread, with *pause* seconds before each time.

    The sync at the end of the with block then has less to write. An error, which syncfs(2) reports only
    once, is raised at the end.
    """
    import threading  # noqa: PLC0415 - it takes a millisecond, and most commands do not need it

    done = threading.Event()
    errors: list[OSError] = []

    def write() -> None:
        while not errors and not done.wait(pause):
            try:
                sync_file_systems(files)
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=write, name="writing ahead", daemon=True)
    try:
        thread.start()
        yield
    finally:
        done.set()
        if thread.is_alive():
            thread.join()
        if errors:
            raise errors[0]


@contextlib.contextmanager
def syncing(files: Iterable[int]) -> Iterator[None]:
    """Sync the file systems of the open *files* while the with block runs; raise OSError at its end."""
    import threading  # noqa: PLC0415 - likewise

    errors: list[OSError] = []

    def write() -> None:
        try:
            sync_file_systems(files)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=write, name="syncing")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]


class Durability:
    """How durable a written file is when the call returns; no Enum, whose import takes a millisecond."""

    LATER: Durability
    """Not at all: the caller syncs the file system."""
    WHOLE: Durability
    """After a power cut there is either the old or the whole new file."""
    NOW: Durability
    """After a power cut there is the new file."""


Durability.LATER, Durability.WHOLE, Durability.NOW = Durability(), Durability(), Durability()


class SmallFile(NamedTuple):
    """A small file to be written: its open folder, its name there, its bytes."""

    directory: int
    name: str
    data: bytes


def write_together(files: Sequence[SmallFile]) -> None:
    """Replace small files of one file system; the bytes of all are on disk before the first rename."""
    written: list[tuple[SmallFile, str]] = []
    try:
        for file in files:
            temporary = f".{file.name}.{os.urandom(8).hex()}"
            written.append((file, temporary))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=file.directory)
            with open(descriptor, "wb") as stream:
                stream.write(file.data)
        if files:
            sync_file_system(files[0].directory)
        while written:
            file, temporary = written[-1]
            os.rename(temporary, file.name, src_dir_fd=file.directory, dst_dir_fd=file.directory)
            written.pop()
    except BaseException:
        for file, temporary in written:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=file.directory)
        raise


def write_durably(
    directory: int,
    name: str,
    data: bytes,
    durability: Durability = Durability.NOW,
    mode: int = 0o600,
) -> None:
    """Replace *name* in *directory* by *data*: temporary file, fsync, rename, fsync of the directory.

    The umask is taken from *mode*.
    """
    new = write_aside(directory, name, data, synced=durability is not Durability.LATER, mode=mode)
    new.publish()
    if durability is Durability.NOW:
        os.fsync(directory)


class Aside(NamedTuple):
    """A finished file that waits under a temporary name."""

    directory: int
    temporary: str
    name: str

    def publish(self) -> None:
        """Rename it to its final name."""
        try:
            os.rename(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Remove it."""
        with contextlib.suppress(OSError):
            os.unlink(self.temporary, dir_fd=self.directory)


def write_aside(directory: int, name: str, data: bytes, *, synced: bool = True, mode: int = 0o600) -> Aside:
    """Write a temporary file that will become *name* in *directory*; with *synced* its bytes are on disk."""
    temporary = f".{name}.{os.urandom(8).hex()}"
    with created(directory, temporary, mode) as file:
        with open(file, "wb", closefd=False) as stream:
            stream.write(data)
        if synced:
            os.fsync(file)
    return Aside(directory, temporary, name)


def final_name(name: str) -> str | None:
    """Return the final name of the temporary file *name*, or None if it is not a temporary name."""
    final, _, end = name[1:].rpartition(".")
    is_temporary = name[:1] == "." and len(end) == _RANDOM and not end.strip("0123456789abcdef")
    return final if is_temporary and final else None


def write_file(path: str, data: bytes) -> None:
    """Write *data* to the file at *path*, replacing it as a whole; other users cannot read a new file."""
    with opened_folder(os.path.dirname(path) or ".") as folder:
        write_durably(folder, os.path.basename(path), data, Durability.WHOLE)


def replace_text(path: str, data: bytes) -> None:
    """Replace the bytes of the file at *path*, which keeps its mode."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    with opened_folder(os.path.dirname(path)) as folder:
        new = write_aside(folder, os.path.basename(path), data)
        os.chmod(new.temporary, mode, dir_fd=folder)
        new.publish()
