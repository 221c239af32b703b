"""Writing the files of an image as a tar archive or a directory, with equal bytes on all machines.

Times are fixed, root owns all files, members are sorted, and each content is hashed while it is written.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple

from pipm.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.core.digest import Digest

_CHUNK = 1 << 20
DIRECTORY = -1
"""The mode of a directory; only empty directories must be listed."""


class ImageFile(NamedTuple):
    """A file of an image at ``path`` with ``mode``: ``data``, or the bytes of the file ``source``.

    ``digest`` is the expected digest of ``source``. A hard link has the path of another file of the image in
    ``link``; a symlink has its target in ``symlink``.
    """

    path: str
    mode: int = 0o644
    data: bytes = b""
    source: str = ""
    digest: Digest | None = None
    link: str = ""
    symlink: str = ""


def write_tar(stream: IO[bytes], files: Iterable[ImageFile], time: int) -> None:
    """Write *files* with their directories to *stream*; raise StoreError if a source changed."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for file in _ordered(files):
            member = tarfile.TarInfo(file.path)
            member.mode, member.mtime = file.mode, time
            if file.mode == DIRECTORY:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            elif file.link or file.symlink:
                member.type = tarfile.LNKTYPE if file.link else tarfile.SYMTYPE
                member.linkname = file.link or file.symlink
                archive.addfile(member)
            else:
                with _opened(file) as content:
                    member.size = _size(content)
                    archive.addfile(member, _Hashed(content, file))


def write_tree(folder: str, files: Iterable[ImageFile], time: int) -> None:
    """Write *files* with their directories into the new directory *folder*."""
    os.mkdir(folder, 0o755)
    folders = [folder]
    for file in _ordered(files):
        path = os.path.join(folder, file.path)
        if file.mode == DIRECTORY:
            os.mkdir(path, 0o755)
            folders.append(path)
        elif file.link:
            os.link(os.path.join(folder, file.link), path)
        elif file.symlink:
            os.symlink(file.symlink, path)
        else:
            with _opened(file) as content, open(path, "xb") as stream:
                hashed = _Hashed(content, file)
                while chunk := hashed.read(_CHUNK):
                    stream.write(chunk)
                os.fchmod(stream.fileno(), file.mode)
            os.utime(path, (time, time))
    for path in reversed(folders):
        os.chmod(path, 0o755)  # noqa: S103 - whatever the umask, others read an image
        os.utime(path, (time, time))


def _ordered(files: Iterable[ImageFile]) -> Iterator[ImageFile]:
    """Yield *files* sorted by path, each directory before its files, and hard links last."""
    made: set[str] = set()
    for file in sorted(files, key=lambda one: (bool(one.link), one.path.split("/"))):
        missing = []
        folder = file.path if file.mode == DIRECTORY else posixpath.dirname(file.path)
        while folder and folder not in made:
            missing.append(folder)
            made.add(folder)
            folder = posixpath.dirname(folder)
        for path in reversed(missing):
            yield ImageFile(path, DIRECTORY)
        if file.mode != DIRECTORY:
            yield file


def _opened(file: ImageFile) -> IO[bytes]:
    return open(file.source, "rb") if file.source else io.BytesIO(file.data)


def _size(stream: IO[bytes]) -> int:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


class _Hashed:
    """A stream that compares its digest at its end."""

    def __init__(self, stream: IO[bytes], file: ImageFile) -> None:
        self._stream, self._file = stream, file
        self._left = _size(stream)
        self._state = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read at most *size* bytes; raise StoreError at the end if the digest is not the expected one."""
        data = self._stream.read(size)
        self._state.update(data)
        self._left -= len(data)
        digest = self._file.digest
        if self._left <= 0 and digest is not None and self._state.digest() != digest:
            raise StoreError(
                f"The store's file {self._file.source} was changed in place",
                hint="pipm verify --full --repair repairs it",
            )
        return data
