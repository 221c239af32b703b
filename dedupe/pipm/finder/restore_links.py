"""Creating symlinks again for a distribution that the finder served."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from pipm.bytecode.compiled_files import match_bytecode, open_pools
from pipm.core.bytecode import header_time
from pipm.core.digest import EMPTY
from pipm.core.record import RecordPlace, entry_path
from pipm.finder.colocation import SITE
from pipm.finder.import_order import package_last
from pipm.fs.beneath import is_there, open_directory_beneath
from pipm.fs.copies import FileMetadata, set_metadata
from pipm.fs.link_modes import LinkMode, place_file
from pipm.fs.share_file import NewFile, ensure_folder, write_new_file
from pipm.fs.staging import Staging, staging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipm.core.manifest import FileEntry
    from pipm.core.originals import Original
    from pipm.env.interpreter import Interpreter
    from pipm.env.receipt import ServedDistribution
    from pipm.finder.distributions import SiteDistribution
    from pipm.store.layout import Store

_PLAIN, _EXECUTABLE = 0o644, 0o755


def restore_links(
    store: Store,
    root: int,
    site: str,
    one: SiteDistribution,
    served: ServedDistribution,
    interpreter: Interpreter | None,
    originals: Mapping[str, Original],
) -> int:
    """Create symlinks to all files of a distribution in the environment open as *root*; return their number.

    Empty files are created with the mode and group in *originals*, by path in the environment.
    """
    assert one.manifest is not None
    count = 0
    with staging(root) as temporary, closing(_Folders(root, site, temporary)) as folders:
        sources: dict[str, FileEntry] = {}
        for entry in sorted(one.manifest.files, key=lambda entry: package_last(entry.path)):
            if entry.path.startswith(SITE):
                path = entry.path[len(SITE) :]
                original = originals.get(f"{site}/{path}")
                count += _restore_file(store, folders, one, entry, original)
                if path.endswith(".py"):
                    sources[path] = entry
        for path in served.bytecode:
            count += _restore_bytecode(store, folders, path, sources, interpreter)
        for name, text in served.dropped:
            if not is_there(folders.open(""), name):
                data = text.encode("utf-8", "surrogateescape")
                folders.write("", name, data, FileMetadata(_PLAIN, None, None, time.time_ns()))
    return count


def _restore_file(
    store: Store, folders: _Folders, one: SiteDistribution, entry: FileEntry, original: Original | None
) -> bool:
    path = entry.path[len(SITE) :]
    above, _, name = path.rpartition("/")
    if not above and name.endswith(".pth"):
        return False  # the environment kept it
    folder = folders.open(above)
    if is_there(folder, name):
        return False
    if entry.digest == EMPTY:
        mode = _EXECUTABLE if entry.executable else _PLAIN
        # The store's bytecode needs this time; `release_shared` restores the original one later.
        metadata = FileMetadata(mode, None, None, entry.mtime_ns)
        if original is not None:
            metadata = metadata._replace(mode=original.mode, group=original.group)
        folders.write(above, name, b"", metadata)
    else:
        target = f"{store.path}/v1/wheels/{one.entry}/{entry_path(RecordPlace.SITE, path)}"
        place_file(LinkMode.SYMLINK, store.objects, target, folder, name)
    return True


def _restore_bytecode(
    store: Store, folders: _Folders, path: str, sources: dict[str, FileEntry], interpreter: Interpreter | None
) -> bool:
    """Create a symlink to the pool's bytecode of a source, if the pool still has it."""
    cache, _, name = path.rpartition("/")
    found = match_bytecode(name, interpreter)
    if found is None or interpreter is None:
        return False
    module, level = found
    source = sources.get(f"{cache.removesuffix('__pycache__')}{module}.py")
    pool = open_pools(store, interpreter)[level]
    if source is None:
        return False
    key = (source.digest, header_time(source.mtime_ns))
    if pool.find(*key) is None:
        return False
    folder = folders.open(cache)
    if is_there(folder, name):
        return False
    target = f"{store.path}/v1/bytecode/{pool.name(*key)}"
    place_file(LinkMode.SYMLINK, store.bytecode, target, folder, name)
    return True


class _Folders:
    """The folders of site-packages, created if missing; the last one stays open.

    New files are written in the open folder *temporary* and renamed: a killed run leaves no partial file.
    """

    def __init__(self, root: int, site: str, temporary: int) -> None:
        self._site = open_directory_beneath(root, site)
        self._area = Staging(temporary, "0")
        self._path: str | None = None
        self._folder = -1

    def open(self, path: str) -> int:
        """Open the folder *path*, relative to site-packages."""
        if path != self._path:
            self._close_last()
            made = ""
            for part in path.split("/") if path else ():
                made = f"{made}/{part}" if made else part
                ensure_folder(self._site, made)
            self._folder = open_directory_beneath(self._site, path)
            self._path = path
        return self._folder

    def write(self, path: str, name: str, data: bytes, metadata: FileMetadata) -> None:
        """Create the file *name* in the folder *path*."""
        new = NewFile(self._area.directory, self._area.name())
        write_new_file(new, [data], metadata.mode)
        set_metadata(new.directory, new.name, metadata)
        self._area.move(new.name, self.open(path), name)

    def close(self) -> None:
        """Close all folders."""
        self._close_last()
        self._area.close()
        os.close(self._site)

    def _close_last(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder, self._path = -1, None
