"""All attributes of each name in a tree, and a comparison that names each difference."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.extents import extents, sync_file_system
from support.snapshot import file_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_GETFLAGS = 0x80086601
_FSGETXATTR = 0x801C581F
_FSXATTR = struct.Struct("=IIIII8x")
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
COUNTS = frozenset({"links", "ctime"})
"""What changes on an inode when a hard link to it comes or goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """One name: its inode with all attributes, its bytes, and where they lie on the disk.

    Access time is left out (reading changes it), and so is FIEMAP's flag for shared extents (another file's
    copy changes it). ACLs, capabilities and security labels are among the extended attributes.
    """

    kind: str
    identity: tuple[int, int]
    links: int
    mode: int
    owner: tuple[int, int]
    size: int
    mtime: int
    ctime: int
    xattrs: tuple[tuple[str, bytes], ...] = ()
    flags: tuple[int, ...] = ()
    digest: str = ""
    target: str = ""
    data: tuple[tuple[int, int], ...] = ()
    extents: tuple[tuple[int, int, bool], ...] = ()


States = dict[str, State]
FIELDS = tuple(field.name for field in dataclasses.fields(State))
PLACE = frozenset({"identity", "links", "ctime", "extents"})
"""What differs between a file and its copy that kept everything."""


def _xattrs(path: str) -> tuple[tuple[str, bytes], ...]:
    found = []
    with contextlib.suppress(OSError):  # a file system without extended attributes
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            with contextlib.suppress(OSError):  # on btrfs, a property that is listed and cannot be read
                found.append((name, os.getxattr(path, name, follow_symlinks=False)))
    return tuple(found)


def _flags(descriptor: int) -> tuple[int, ...]:
    """Return the inode's flags, and of its fsxattr: flags, extent size hints and project."""
    buffer, wide = bytearray(8), bytearray(_FSXATTR.size)
    try:
        fcntl.ioctl(descriptor, _GETFLAGS, buffer)
        fcntl.ioctl(descriptor, _FSGETXATTR, wide)
    except OSError as error:
        if error.errno not in {errno.ENOTTY, errno.EOPNOTSUPP}:
            raise
    xflags, hint, _, project, cow_hint = _FSXATTR.unpack(wide)
    return (int.from_bytes(buffer[:4], "little"), xflags, hint, project, cow_hint)


def data_ranges(descriptor: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of a file that are no holes."""
    found, position = [], 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole up to the end
                raise
            break
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.append((start, position))
    return tuple(found)


def state(path: str) -> State:
    """Return everything about one name; a symbolic link is not followed."""
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special")
    flags: tuple[int, ...] = ()
    data: tuple[tuple[int, int], ...] = ()
    places: tuple[tuple[int, int, bool], ...] = ()
    if kind in {"file", "directory"}:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            flags = _flags(descriptor)
            data = data_ranges(descriptor, status.st_size) if kind == "file" else ()
        finally:
            os.close(descriptor)
    if kind == "file" and status.st_size:
        with contextlib.suppress(OSError):  # a file system without FIEMAP
            places = tuple((row.physical, row.length, row.inline) for row in extents(path))
    return State(
        kind=kind,
        identity=(status.st_dev, status.st_ino),
        links=status.st_nlink,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        size=status.st_size,
        mtime=status.st_mtime_ns,
        ctime=status.st_ctime_ns,
        xattrs=_xattrs(path),
        flags=flags,
        digest=file_digest(path) if kind == "file" else "",
        target=os.readlink(path) if kind == "symlink" else "",
        data=data,
        extents=places,
    )


def mount_points() -> frozenset[str]:
    """Return the mount points of this process's namespace."""
    with open("/proc/self/mountinfo", "rb") as file:
        return frozenset(os.fsdecode(line.split()[4].decode("unicode_escape")) for line in file)


def _paths(folder: str, skipped: Collection[str]) -> Iterator[str]:
    yield folder
    with os.scandir(folder) as rows:
        for row in sorted(rows, key=lambda row: row.name):
            if row.path in skipped:
                continue
            if row.is_dir(follow_symlinks=False):
                yield from _paths(row.path, skipped)
            else:
                yield row.path


def states(tree: str) -> States:
    """Return the states of a folder and of all below it by relative name, without other mounts."""
    sync_file_system(tree)  # else extents are allocated, and move, while they are looked at
    known: dict[tuple[int, int], State] = {}
    found: States = {}
    for path in _paths(tree, mount_points()):
        status = os.lstat(path)
        identity = (status.st_dev, status.st_ino)
        if identity not in known:
            known[identity] = state(path)
        found[os.path.relpath(path, tree)] = known[identity]
    return found


def below(taken: States, *folders: str) -> States:
    """Return the part of *taken* in these folders."""
    return {name: row for name, row in taken.items() if is_below(name, folders)}


def outside(taken: States, *folders: str) -> States:
    """Return the part of *taken* outside of these folders."""
    return {name: row for name, row in taken.items() if not is_below(name, folders)}


def is_below(name: str, folders: Collection[str]) -> bool:
    """Return whether a relative name is one of these folders, or in one of them."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def state_differences(before: State, after: State, ignored: Collection[str] = ()) -> list[str]:
    """Return the differences of two states: `field: old → new`."""
    return [
        f"{field}: {_text(field, old)} → {_text(field, new)}"
        for field in FIELDS
        if field not in ignored and (old := getattr(before, field)) != (new := getattr(after, field))
    ]


def _text(field: str, value: object) -> str:
    return f"{value:o}" if field == "mode" else str(value)


def differences(before: States, after: States, ignored: Collection[str] = ()) -> list[str]:
    """Return each difference between two trees: `name: field: old → new`."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"{name}: gone")
        elif name not in before:
            found.append(f"{name}: new")
        else:
            found += [f"{name}: {line}" for line in state_differences(before[name], after[name], ignored)]
    return found


def foreign_differences(before: States, after: States, *own: str) -> list[str]:
    """Return each difference outside of the folders that a command may change.

    Where an inode had a name in *own* before, the number of its links and its ctime may differ, for links
    come and go, and so may the place of its bytes, for these are shared there; everything else is as it was.
    """
    shared = {row.identity for row in below(before, *own).values() if row.kind != "directory"}
    mine, theirs = outside(before, *own), outside(after, *own)
    found = differences(
        {name: row for name, row in mine.items() if row.identity not in shared},
        {name: row for name, row in theirs.items() if name not in mine or mine[name].identity not in shared},
    )
    ours = {name: row for name, row in mine.items() if row.identity in shared}
    return found + differences(
        ours,
        {name: theirs[name] for name in ours if name in theirs},
        COUNTS | {"extents"},
    )
