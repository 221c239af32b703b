"""Making room on a full disk: equal files of several environments share data before anything is written.

An adoption needs blocks and inodes for its store and its records before it frees any. On a full disk, the
largest equal files are shared first: FIDEDUPERANGE frees the blocks of one, and link with rename(2) also
frees its inode; neither needs a free block. Then the adoption continues as usual.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.environment_lock import locked_environment
from pipm.core.digest import Digest
from pipm.core.originals import Original
from pipm.core.plan.adopt_plan import is_usual_mode
from pipm.core.size_text import size_text
from pipm.env.installed import contested_paths, installed_distributions
from pipm.env.places import paths_of_others
from pipm.errors import FullDiskError
from pipm.fs.beneath import directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.file_content import digest_file, same_bytes
from pipm.fs.free_space import Free, file_system_type, free_space, has_reflinks
from pipm.fs.leftovers import sweep
from pipm.fs.link_modes import LinkMode
from pipm.fs.reflinks import dedupe
from pipm.fs.share_file import LeaveAloneError, open_leased
from pipm.fs.staging import replace_by_link
from pipm.share.keep_originals import folders_of, metadata_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipm.context.progress import Progress
    from pipm.core.originals import Originals
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.fs.share_file import LeasedFile
    from pipm.store.layout import Store

_BLOCK = 4096
_PLENTY = Free(256 << 20, 100_000)
"""Free space with which no room needs to be made."""
_FIRST = Free(2 << 20, 100)
"""Space for the store, the roots and the folders of temporary files before the first file is shared."""
_FOLDERS = Free(2 << 20, 512)
"""Space for the folders of objects and of bytecode, which are made when they are needed."""
_SPACE_A_FILE = 512
_FILES_A_FOLDER = 8


def room_for(files: int, equal: int = 0, gain: int = 0) -> Free:
    """Return the free space that adopting *files* different files may need before it frees any.

    *equal* further files have the content of another one; sharing them frees *gain* bytes meanwhile.
    """
    size = _FOLDERS.size + files * _SPACE_A_FILE - gain
    inodes = (_FOLDERS.inodes or 0) + files // _FILES_A_FOLDER - equal
    return Free(_FIRST.size + max(size, 0), (_FIRST.inodes or 0) + max(inodes, 0))


def has_room(free: Free, need: Free) -> bool:
    """Return whether *free* is at least *need*."""
    return free.size >= need.size and (free.inodes is None or free.inodes >= (need.inodes or 0))


def existing_folder(path: str) -> str:
    """Return the folder *path*, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


@dataclass(slots=True)
class MadeRoom:
    """The result of sharing equal files.

    ``enough`` is true if there is enough room, with what sharing frees meanwhile. ``names`` counts the
    further names of an inode by its number. By environment, ``originals`` are the modes and times of replaced
    files, ``replaced`` their inodes, and ``freed`` the bytes that reflinks freed.
    """

    enough: bool = False
    names: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    originals: dict[str, Originals] = field(default_factory=dict)
    freed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    replaced: dict[str, list[os.stat_result]] = field(default_factory=lambda: defaultdict(list))


class _RecordedFile(NamedTuple):
    """A file in RECORD, with its environment and the metadata folder of its distribution."""

    environment: Environment
    root: int
    metadata: str
    folder: str
    name: str


_Key = tuple[int, str]
"""Size and digest in RECORD's spelling."""


def make_room(
    store: Store | None,
    store_path: str,
    environments: Iterable[Environment],
    mode: LinkMode | None,
    progress: Progress,
) -> MadeRoom:
    """Share equal files if the disk of the store has too little room for an adoption.

    If this would not make enough room, nothing is done; without a *store* FullDiskError is raised then.
    *mode* is the requested link mode.
    """
    made = MadeRoom()
    place = existing_folder(store_path)
    free = free_space(place)
    if has_room(free, _PLENTY):
        return made
    if has_reflinks(file_system_type(place)):
        free = free._replace(inodes=None)  # the file system makes inodes from free blocks
    with ExitStack() as stack:
        files: dict[_Key, list[_RecordedFile]] = defaultdict(list)
        for environment in sorted(environments, key=lambda one: one.path):
            root = stack.enter_context(locked_environment(store, environment, progress))
            sweep(root)
            for key, file in _files(environment, root, installed_distributions(environment, root)):
                files[key].append(file)
        further = {key: len(group) - 1 for key, group in files.items()}
        gain = sum(_on_disk(key) * number for key, number in further.items())
        need = room_for(len(files), sum(further.values()), gain)
        if has_room(free, need):
            made.enough = True
            return made
        groups, expected = _groups(files, os.stat(place).st_dev, need, free)
        if has_room(expected, need):
            for key, group in groups:
                _share_group(key, group, made, links=mode in (None, LinkMode.HARDLINK))
            made.enough = True
            sync_file_system(groups[0][1][0].root)  # freed blocks can be used after that
        elif store is None:
            raise _too_full(store_path, need, free, expected)
    return made


def _too_full(store_path: str, need: Free, free: Free, expected: Free) -> FullDiskError:
    gain = expected.size - free.size
    shared = f"; sharing equal files frees {size_text(gain)}" if gain else ""
    return FullDiskError(
        f"No space left for the store {store_path}: it first needs up to {_text(need)}, {_text(free)} are"
        f" free{shared}",
        hint="free that much; or name all environments on that disk that have the same packages:"
        " equal files are shared first",
    )


def _text(free: Free) -> str:
    size = size_text(free.size)
    return size if free.inodes is None else f"{size} and {free.inodes} inodes"


def _files(
    environment: Environment, root: int, distributions: Sequence[InstalledDistribution]
) -> Iterator[tuple[_Key, _RecordedFile]]:
    """Yield the files of site-packages with a digest in RECORD."""
    others = paths_of_others(environment.path, root)
    contested = {path for _, path in contested_paths(list(distributions), others)}
    for one in distributions:
        if one.refusal is not None:
            continue
        for folder, rows in folders_of(one).items():
            if not f"{folder}/".startswith(f"{one.site}/"):
                continue
            for name, row in rows.items():
                _, _, rest = row.rpartition(",sha256=")
                digest, _, size = rest.partition(",")
                path = f"{folder}/{name}".removeprefix(f"{one.site}/")
                if size.isdecimal() and int(size) and path not in contested:
                    yield (
                        (int(size), digest),
                        _RecordedFile(environment, root, metadata_path(one), folder, name),
                    )


def _groups(
    files: dict[_Key, list[_RecordedFile]], device: int, need: Free, free: Free
) -> tuple[list[tuple[_Key, list[_RecordedFile]]], Free]:
    """Choose the largest equal files on *device* until there is room; return also the free space then.

    Sources are not chosen, because their bytecode contains their times and would have to be compiled again.
    """
    groups: list[tuple[_Key, list[_RecordedFile]]] = []
    size, inodes = free
    for key in sorted(files, reverse=True):
        if has_room(Free(size, inodes), need):
            break
        alike: dict[tuple[int, int], list[_RecordedFile]] = defaultdict(list)
        for file in files[key]:
            if file.name.endswith(".py"):
                continue
            status = _status(file)
            if status is not None and (status.st_size, status.st_dev) == (key[0], device):
                alike[status.st_mode, status.st_gid].append(file)
        for group in alike.values():
            if len(group) > 1:
                groups.append((key, group))
                size += (len(group) - 1) * _on_disk(key)
                inodes = None if inodes is None else inodes + len(group) - 1
    return groups, Free(size, inodes)


def _on_disk(key: _Key) -> int:
    return -(-key[0] // _BLOCK) * _BLOCK


def _status(file: _RecordedFile) -> os.stat_result | None:
    """Return the stat of a file that may be shared: one hard link, this user's, with a usual mode."""
    with directory_beneath(file.root, file.folder) as folder:
        if folder is None:
            return None
        try:
            status = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
    plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
    return status if plain and is_usual_mode(status.st_mode) else None


def _share_group(key: _Key, group: Sequence[_RecordedFile], made: MadeRoom, *, links: bool) -> None:
    """Make the files of *group* share data if their bytes have the digest in RECORD."""
    with suppress(OSError, LeaveAloneError), ExitStack() as stack:
        first = _opened(group[0], stack)
        if digest_file(first.file, key[0]) != Digest.from_record(f"sha256={key[1]}"):
            return
        for file in group[1:]:
            with suppress(OSError, LeaveAloneError), ExitStack() as inner:
                other = _opened(file, inner)
                os.lseek(first.file, 0, os.SEEK_SET)
                if same_bytes(first.file, other.file, key[0]):
                    _share_two(first, other, file, made, links=links)


def _opened(file: _RecordedFile, stack: ExitStack) -> LeasedFile:
    folder = stack.enter_context(directory_beneath(file.root, file.folder))
    status = _status(file)
    if folder is None or status is None:
        raise FileNotFoundError
    leased = open_leased(folder, file.name, status.st_ino)
    stack.callback(os.close, leased.file)
    return leased


def _share_two(
    first: LeasedFile, other: LeasedFile, file: _RecordedFile, made: MadeRoom, *, links: bool
) -> None:
    """Free the blocks of *other*, and its inode if the file system has no reflinks."""
    status = other.status
    path = file.environment.path
    try:
        if dedupe(first.file, other.file, status.st_size):
            made.freed[path] += status.st_blocks * 512
    except OSError:
        inode = first.status.st_ino
        if (
            links
            and not (first.labelled or other.labelled)
            and replace_by_link(first.directory, inode, first.name, file.root, other.directory, other.name)
        ):
            made.names[inode] += 1
            made.replaced[path].append(status)
            original = Original(stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime_ns)
            of_environment = made.originals.setdefault(path, {})
            of_environment.setdefault(file.metadata, {})[f"{file.folder}/{file.name}"] = original
