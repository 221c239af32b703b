"""Restoring modes and times of files and folders that the finder removed or replaced."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pipm.env.interpreter import ask_interpreter
from pipm.env.receipt import FOLDER
from pipm.finder.import_table import ImportTable
from pipm.finder.metadata_files import is_made_here
from pipm.fs.beneath import directory_beneath, read_beneath, status_beneath
from pipm.fs.copies import FileMetadata, set_metadata
from pipm.store.stored_originals import read_originals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.core.originals import Original
    from pipm.env.environment import Environment
    from pipm.store.layout import Store


class Before:
    """The recorded originals of distributions with the metadata folders *infos* in *site*.

    It must be created before the first file is restored, because it records which folders are missing.
    """

    def __init__(
        self, store: Store, environment: Environment, root: int, site: str, infos: Iterable[str]
    ) -> None:
        self._root, self._site = root, site
        self._metadata = {f"{site}/{info}/" for info in infos}
        self.rows = originals_below(store, environment, self._metadata)
        self._folders = {path for path in self.rows if path.endswith("/") and not self._has(path)}
        self._folders |= self._metadata
        if self._is_undisturbed(environment):
            self._folders.add(f"{site}/")

    def restore_files(self) -> None:
        """Restore modes and times of files in metadata folders."""
        for path, row in self.rows.items():
            above, _, name = path.rpartition("/")
            if f"{above}/" not in self._metadata or not name:
                continue
            with directory_beneath(self._root, above) as folder:
                status = None if folder is None else status_beneath(folder, name)
                if folder is None or status is None or not stat.S_ISREG(status.st_mode):
                    continue
                if is_made_here(name, status):
                    set_metadata(folder, name, _metadata(row))

    def restore_folders(self) -> None:
        """Restore modes and times of folders that were created again or whose entries changed."""
        for path in sorted(self._folders, reverse=True):
            row = self.rows.get(path)
            above, _, name = path.rstrip("/").rpartition("/")
            if row is not None and self._has(path):
                with directory_beneath(self._root, above) as folder:
                    if folder is not None:
                        set_metadata(folder, name, _metadata(row))

    def _has(self, path: str) -> bool:
        with directory_beneath(self._root, path) as folder:
            return folder is not None

    def _is_undisturbed(self, environment: Environment) -> bool:
        """Return True if site-packages has the time that the finder's table records."""
        interpreter = ask_interpreter(environment.interpreter)
        if interpreter is None:
            return False
        data = read_beneath(self._root, f"{FOLDER}/{ImportTable.name(interpreter.cache_tag)}")
        table = None if data is None else ImportTable.from_bytes(data)
        with directory_beneath(self._root, self._site) as site:
            return table is not None and site is not None and table.site_time == os.fstat(site).st_mtime_ns


def originals_below(store: Store, environment: Environment, infos: Iterable[str]) -> dict[str, Original]:
    """Return the recorded originals of distributions with the metadata folders *infos*, by path."""
    known = read_originals(store, environment.path) or {}
    return {path: row for info in infos for path, row in known.get(info.rstrip("/"), {}).items()}


def _metadata(row: Original) -> FileMetadata:
    return FileMetadata(mode=row.mode, owner=None, group=row.group, mtime_ns=row.mtime_ns)
