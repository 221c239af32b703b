"""Reading a small tree into a value, and writing it elsewhere."""

from __future__ import annotations

import contextlib
import os
import stat

from pipm.fs.durability import syncing, write_aside
from pipm.fs.opened import opened_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Row = tuple[str, str, str]
"""A path in the tree; its kind (``folder``, ``link``, ``file``, ``program``); its target or content."""

_MOST = 100
_LARGEST = 64 << 10


def read_template(path: str) -> list[Row]:
    """Read the tree at *path*, parents first; raise ValueError if it is large, or not only text and links."""
    rows: list[Row] = []
    for base, folders, names in os.walk(path):
        below = os.path.relpath(base, path)
        for name in sorted((*folders, *names)):
            relative = name if below == "." else f"{below}/{name}"
            rows.append((relative, *_read(f"{path}/{relative}")))
            if len(rows) > _MOST:
                raise ValueError(f"{path} has too many files")
    return rows


def _read(path: str) -> tuple[str, str]:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "link", os.readlink(path)
    if stat.S_ISDIR(status.st_mode):
        return "folder", ""
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        raise ValueError(f"{path} is not a small file")
    with open(path, encoding="utf-8", newline="") as stream:
        return "program" if status.st_mode & stat.S_IXUSR else "file", stream.read()


def write_template(path: str, rows: list[Row], last: str, meanwhile: Callable[[], None]) -> None:
    """Make the tree of *rows* at *path*: first directories, files and links, and then the file *last*.

    Only directories may exist there before. All is on disk before *last* gets its name; the caller syncs the
    file system after that. *meanwhile* is called while the disk writes.
    """
    os.makedirs(path, exist_ok=True)
    order = {"folder": 0, "file": 1, "program": 1, "link": 2}
    texts = {relative: content for relative, _, content in rows}
    for relative, kind, content in sorted(rows, key=lambda row: order[row[1]]):
        place = f"{path}/{relative}"
        if kind == "folder":
            with contextlib.suppress(FileExistsError):
                os.mkdir(place)
        elif kind == "link":
            os.symlink(content, place)
        elif relative != last:
            _write(place, content, 0o777 if kind == "program" else 0o666)
    with opened_folder(path) as top:
        new = write_aside(top, last, texts[last].encode("utf-8"), synced=False, mode=0o666)
        try:
            with syncing([top]):
                meanwhile()
        except BaseException:
            new.drop()
            raise
        new.publish()


def _write(path: str, content: str, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "w", encoding="utf-8", newline="") as stream:
        stream.write(content)
