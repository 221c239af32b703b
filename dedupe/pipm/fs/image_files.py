"""Writing the files of an image as a tar archive or a directory, with equal bytes on all machines.

Times are fixed, root owns all files, members are sorted, and each content is hashed while it is written.
"""

from __future__ import annotations

import hashlib
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
    written = 0
    for file in _ordered(files):
        member = tarfile.TarInfo(file.path)
        member.mode, member.mtime = file.mode, time
        if file.mode == DIRECTORY:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        elif file.link or file.symlink:
            member.type = tarfile.LNKTYPE if file.link else tarfile.SYMTYPE
            member.linkname = file.link or file.symlink
        else:
            member.size = os.stat(file.source).st_size if file.source else len(file.data)
        # TarFile.addfile copies each member and each 10 KiB of its content, which takes twice the time.
        written += stream.write(member.tobuf(tarfile.GNU_FORMAT))
        if member.size:
            for chunk in _content(file, member.size):
                written += stream.write(chunk)
            written += stream.write(bytes(-member.size % tarfile.BLOCKSIZE))
    end = 2 * tarfile.BLOCKSIZE
    stream.write(bytes(end + -(written + end) % tarfile.RECORDSIZE))


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
            with open(path, "xb") as stream:
                stream.writelines(_content(file))
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


def _content(file: ImageFile, size: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of *file*; raise StoreError at the end for another digest or *size*."""
    if not file.source:
        yield file.data
        return
    state = hashlib.sha256()
    read = 0
    with open(file.source, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            read += len(chunk)
            if file.digest is not None:
                state.update(chunk)
            yield chunk
    if size not in (None, read) or (file.digest is not None and state.digest() != file.digest):
        raise StoreError(
            f"The store's file {file.source} was changed in place",
            hint="pipm verify --full --repair repairs it",
        )
