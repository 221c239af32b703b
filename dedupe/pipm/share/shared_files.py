"""Finding the files that an environment shares with the store, and only with the store.

A file is shared if it has the inode of a stored file or is a symlink to one. A file with an own inode is
shared if RECORD (or the manifest of its entry) names an object for it, and the two have blocks in common. A
user's reflinked copies and snapshots have the same blocks, but no object, because no RECORD lists them. The
store may not know the environment, for example if the store was lost. Then a distribution with read-only
modules that have further hard links was shared by another store: no installer makes such files.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections import Counter
from typing import TYPE_CHECKING

from pipm.bytecode.compiled_files import CACHE, match_bytecode, open_pools
from pipm.context.statistics import SkippedFile
from pipm.core.bytecode import header_time
from pipm.core.digest import EMPTY
from pipm.core.plan.release_plan import SharedFile
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace, entry_path, source_of_bytecode
from pipm.env.installed import place_in_environment
from pipm.env.interpreter import ask_interpreter
from pipm.errors import PipmError
from pipm.fs.reflinks import extents
from pipm.fs.walk_tree import inodes_below, walk_entries
from pipm.share.keep_originals import metadata_path, object_names
from pipm.share.prepare_adopt import entries_by_release
from pipm.store.entries import load_manifest
from pipm.store.roots import find_root
from pipm.store.stored_originals import read_originals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipm.core.digest import Digest
    from pipm.core.manifest import FileEntry
    from pipm.core.originals import Original, Originals
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store

_INTO_STORE = re.compile(r"(/.+?)/v1/(?:wheels/[^/]+/[^/]+/[^/]+/|objects/[0-9a-f]{2}/|bytecode/[^/]+/)")
"""The targets of symlinks that an adoption makes."""
_WRITE = 0o222
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SharedFileSearch:
    """Finds the files that *environment*, with *distributions*, shares with *store*.

    ``broken`` are symlinks to files that a store lacks; ``lost`` counts hard links to another store's files.
    ``kept`` counts files that stay shared: their inodes are in *kept*, and they had the same mode and time
    before they were adopted. ``read_only`` are modules that a store which no longer exists may have made
    read-only.
    """

    def __init__(
        self,
        store: Store | None,
        environment: Environment,
        distributions: Sequence[InstalledDistribution],
        kept: frozenset[int] = frozenset(),
    ) -> None:
        self._store, self._environment = store, environment
        known = store is not None and find_root(store, environment.path) is not None
        self.read_only: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()
        if not known:
            self._lost, self.read_only = _lost_files(environment, distributions)
        self.lost = self.kept = 0
        self._keep = kept
        self.lost_links: Counter[str] = Counter()
        self.broken: list[SkippedFile] = []
        self.total = 0
        self.has_originals = False
        self._stored: set[int] = set()
        self._unread: list[str] = []
        self._contents: dict[str, tuple[Digest, int | None]] = {}
        self._originals: dict[str, Original] = {}
        if store is not None:
            self._links = f"{store.path}/"
            self._device = os.fstat(store.objects).st_dev
            self._unread = [f"{store.path}/v1{folder}" for folder in ("", "/bytecode", "/objects")]
            self._contents = dict(_contents(store, environment, distributions))
            originals = read_originals(store, environment.path)
            self.has_originals = originals is not None
            self._originals = _originals(originals or {}, distributions)
            self._interpreter = ask_interpreter(environment.interpreter)
            self._pools = [] if self._interpreter is None else open_pools(store, self._interpreter)

    def files(self, chosen: Callable[[str], bool] | None = None) -> Iterator[SharedFile]:
        """Yield each file that shares data or time with the store; count all files in ``total``.

        Only paths for which *chosen* is true are checked. ``lost_links`` counts symlinks into missing stores.
        """
        for directory, entry in walk_entries(self._environment.path):
            if chosen is not None and not chosen(f"{directory}/{entry.name}"):
                continue
            self._note_lost(directory, entry)
            self.total += 1
            found = self._file(directory, entry)
            if found is not None:
                yield found

    def _file(  # noqa: PLR0911 - one return for each kind of file
        self, directory: str, entry: os.DirEntry[str]
    ) -> SharedFile | None:
        status = entry.stat(follow_symlinks=False)
        path = f"{directory}/{entry.name}" if directory else entry.name
        source = _source_path(directory, entry.name)
        original = self._originals.get(path)
        if stat.S_ISLNK(status.st_mode):
            # A broken symlink stays as it is: there is nothing to copy.
            target = self._stored_target(entry.path)
            if not target:
                return None
            return SharedFile(
                directory,
                entry.name,
                os.stat(target),
                source=source,
                original=original,
                link=status,
                target=target,
            )
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_nlink > 1 and self._is_stored(status):
            if status.st_ino in self._keep and _is_as_before(status, original):
                self.kept += 1
                return None
            return SharedFile(directory, entry.name, status, source=source, original=original)
        if status.st_nlink > 1:  # the store has none of its other names
            if (source or path) not in self._lost:
                return None
            self.lost += 1
            return SharedFile(directory, entry.name, status, source=source)
        return self._of_its_own(
            SharedFile(directory, entry.name, status, False, source=source, original=original)
        )

    def _stored_target(self, path: str) -> str:
        """Return the stored file behind the symlink at *path*, also if the store was moved; or ""."""
        if self._store is None:
            return ""
        target = os.readlink(path)
        if target.startswith(self._links):
            return target if os.path.exists(target) else ""
        found = _INTO_STORE.match(target)
        if found is None:
            return ""
        if os.path.exists(target):
            return target if self._is_stored(os.stat(target)) else ""
        moved = self._store.path + target.removeprefix(found[1])
        return moved if os.path.exists(moved) else ""

    def _note_lost(self, directory: str, entry: os.DirEntry[str]) -> None:
        """Record a broken symlink into a store, unless this store has the file."""
        if not entry.is_symlink() or os.path.exists(entry.path):
            return
        found = _INTO_STORE.match(os.readlink(entry.path))
        if found is None or self._stored_target(entry.path):
            return
        if os.path.isdir(f"{found[1]}/v1"):
            self.broken.append(SkippedFile(f"{directory}/{entry.name}", Reason.NOT_STORED))
        else:
            self.lost_links[found[1]] += 1

    def _is_stored(self, status: os.stat_result) -> bool:
        """Return whether a file has an inode of the store; objects and bytecode are listed first."""
        if self._store is None or status.st_dev != self._device:
            return False
        while status.st_ino not in self._stored:
            if not self._unread:
                return False
            self._stored.update(inodes_below(self._unread.pop()))
        return True

    def _of_its_own(self, file: SharedFile) -> SharedFile | None:
        """Return a file with an own inode if it shares blocks with its object or has its time, else None."""
        digest, time = self._contents.get(file.source or file.shown, (None, None))
        if digest is None:
            return None
        if digest == EMPTY and not file.source:  # it has no object, but a time of the store
            return file._replace(private=True, stored_mtime_ns=time or self._time_of_bytecode(file))
        stored = self._object(file, digest)
        if stored is None:
            return file._replace(private=True) if file.source else None
        try:
            private = not self._shares_blocks(file, stored)
            time = os.fstat(stored).st_mtime_ns
        finally:
            os.close(stored)
        return file._replace(private=private, stored_mtime_ns=time)

    def _time_of_bytecode(self, file: SharedFile) -> int | None:
        """Return the time (ns) of an empty source if the store has bytecode for that second.

        A distribution without an entry has no manifest that records the time which adopting gave.
        """
        mtime_ns = file.status.st_mtime_ns
        shared = any(pool.find(EMPTY, header_time(mtime_ns)) for pool in self._pools)
        return mtime_ns if shared else None

    def _object(self, file: SharedFile, digest: Digest) -> int | None:
        """Open the object, or the bytecode in the pool, with the content that a file should have."""
        assert self._store is not None  # without a store `_contents` is empty
        if file.source:
            found = match_bytecode(file.name, self._interpreter)
            folder, names = self._store.bytecode, []
            with contextlib.suppress(OSError):  # without its source bytecode has no name in the pool
                time = header_time(os.stat(f"{self._environment.path}/{file.source}").st_mtime_ns)
                names = [] if found is None else [self._pools[found[1]].name(digest, time)]
        else:
            folder, names = self._store.objects, object_names(digest, file.status)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stored = os.open(name, _READ, dir_fd=folder)
                if name == names[-1] or self._has_time(stored, file):
                    return stored
                os.close(stored)
        return None

    @staticmethod
    def _has_time(stored: int, file: SharedFile) -> bool:
        return os.fstat(stored).st_mtime_ns == file.status.st_mtime_ns

    def _shares_blocks(self, file: SharedFile, stored: int) -> bool:
        try:
            mine = os.open(f"{self._environment.path}/{file.shown}", _READ)
        except OSError:
            return False
        try:
            blocks = [one for one in extents(mine) if one.shared and one.allocated and not one.inline]
        finally:
            os.close(mine)
        if not blocks:
            return False
        theirs = [one for one in extents(stored) if one.allocated and not one.inline]
        return any(
            one.physical < other.physical + other.length and other.physical < one.physical + one.length
            for one in blocks
            for other in theirs
        )


def _lost_files(
    environment: Environment, distributions: Iterable[InstalledDistribution]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the files of distributions with read-only modules that have further hard links.

    The second result are the read-only modules without further hard links.
    """
    found: set[str] = set()
    alone: set[str] = set()
    for distribution in distributions:
        paths = {
            place_in_environment(distribution, location)
            for _, location in distribution.located
            if location.place is not RecordPlace.OUTSIDE
        }
        modules = [path for path in paths if path.endswith((".py", ".so"))]
        links = {path: _links_of_read_only(f"{environment.path}/{path}") for path in modules}
        if any(number > 1 for number in links.values()):
            found |= paths
        alone.update(path for path, number in links.items() if number == 1)
    return frozenset(found), frozenset(alone)


def _links_of_read_only(path: str) -> int:
    """Return the number of hard links of a read-only file; 0 for any other."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    return status.st_nlink if stat.S_ISREG(status.st_mode) and not status.st_mode & _WRITE else 0


def _source_path(directory: str, name: str) -> str:
    """Return the path of the source if the file is bytecode; otherwise ""."""
    folder, _, last = directory.rpartition("/")
    if last != CACHE or not name.endswith(".pyc"):
        return ""
    source = source_of_bytecode(name)
    return f"{folder}/{source}" if source else ""


def _contents(
    store: Store, environment: Environment, distributions: Sequence[InstalledDistribution]
) -> Iterator[tuple[str, tuple[Digest, int | None]]]:
    """Yield for each file of RECORD its path in the environment, and its digest and time (ns).

    The time is None if the manifest of the file's entry does not list it.
    """
    root = find_root(store, environment.path)
    entries = entries_by_release(() if root is None else root.entries)
    for distribution in distributions:
        manifest = _rows(store, entries.get((distribution.name, distribution.version), ""))
        for row, location in distribution.located:
            if location.place is RecordPlace.OUTSIDE:
                continue
            known = manifest.get(entry_path(location.place, location.path))
            digest = row.digest or (None if known is None else known.digest)
            if digest is not None:
                time = known.mtime_ns if known is not None and known.digest == digest else None
                yield place_in_environment(distribution, location), (digest, time)


def _is_as_before(status: os.stat_result, original: Original | None) -> bool:
    now = (stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime_ns)
    return original is None or original == now


def _rows(store: Store, entry: str) -> dict[str, FileEntry]:
    try:
        return {file.path: file for file in load_manifest(store, entry).files} if entry else {}
    except (OSError, PipmError):  # damaged: then RECORD alone counts
        return {}


def _originals(known: Originals, distributions: Sequence[InstalledDistribution]) -> dict[str, Original]:
    return {
        path: original
        for distribution in distributions
        for path, original in known.get(metadata_path(distribution), {}).items()
    }
