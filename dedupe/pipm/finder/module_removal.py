"""Removing the files of a served distribution from site-packages.

Only symlinks into the store are removed; adoption has compared these files. A distribution with other files
among its modules (a patched file, an added plug-in) keeps all files and is not served.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from pipm.bytecode.compiled_files import match_bytecode, open_pools
from pipm.core.bytecode import header_time
from pipm.core.digest import EMPTY
from pipm.core.install_plan import KEPT_METADATA, OUTDATED
from pipm.finder.colocation import SITE, path_file_text
from pipm.finder.import_order import package_last
from pipm.fs.beneath import directory_beneath
from pipm.fs.share_file import forget, forget_folder

if TYPE_CHECKING:
    from pipm.core.manifest import FileEntry
    from pipm.env.interpreter import Interpreter
    from pipm.finder.distributions import SiteDistribution
    from pipm.store.layout import Store

_CACHE = "__pycache__"


@dataclass(slots=True)
class ModuleRemoval:
    """The names to remove, by folder relative to site-packages.

    ``bytecode`` are the paths of bytecode among them; ``dropped`` are the path files, with their text.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    bytecode: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)


class _StaysError(Exception):
    """Raised for a distribution that has other files among its modules."""


def plan_removal(
    store: Store, root: int, site: str, one: SiteDistribution, interpreter: Interpreter
) -> ModuleRemoval | None:
    """Plan the removal of a distribution's files; return None if it must stay as it is.

    A distribution that the finder already serves has files to remove only after a killed run.
    """
    try:
        return _RemovalPlanner(store, root, site, one, interpreter).plan()
    except _StaysError:
        return None


class _RemovalPlanner:
    def __init__(
        self, store: Store, root: int, site: str, one: SiteDistribution, interpreter: Interpreter
    ) -> None:
        self.store, self.root, self.site, self.one = store, root, site, one
        self.interpreter = interpreter
        self.pools = open_pools(store, interpreter)
        self.strict = one.served is None
        self.removal = ModuleRemoval()
        self.links = f"{store.path}/v1/"

    def plan(self) -> ModuleRemoval:
        assert self.one.manifest is not None
        folders: dict[str, dict[str, FileEntry]] = {folder: {} for folder in self.one.layout.folders}
        for entry in self.one.manifest.files:
            if entry.path.startswith(SITE):
                folder, _, name = entry.path[len(SITE) :].rpartition("/")
                folders.setdefault(folder, {})[name] = entry
        for folder, files in folders.items():
            path = f"{self.site}/{folder}" if folder else self.site
            with directory_beneath(self.root, path) as descriptor:
                if descriptor is not None:
                    self._folder(folder, descriptor, files)
                elif files and self.strict:
                    raise _StaysError
        return self.removal

    def _folder(self, folder: str, descriptor: int, files: dict[str, FileEntry]) -> None:
        if folder.partition("/")[0] == self.one.distribution.metadata:
            self._metadata(folder, descriptor, files)
            return
        for name, entry in files.items():
            if not folder and name.endswith((".pth", ".start")):
                self._path_file(descriptor, name)
            elif self._goes(descriptor, name, entry):
                self.removal.names.setdefault(folder, []).append(name)
        inside = folder not in self.one.layout.open
        if inside and self.strict:
            self._check_leftovers(folder, descriptor, files)
        self._bytecode(folder, descriptor, files)

    def _goes(self, descriptor: int, name: str, entry: FileEntry) -> bool:
        """Return whether a file only links to the store; raise _StaysError if it is the environment's own."""
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            if self.strict:
                raise _StaysError from None
            return False
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=descriptor)
            stored = entry.object_name
            if target in (
                f"{self.links}wheels/{self.one.entry}/{entry.path}",
                f"{self.links}objects/{stored}",
            ):
                return True
        elif entry.digest == EMPTY and stat.S_ISREG(status.st_mode) and not status.st_size:
            return True
        if self.strict:
            raise _StaysError
        return False

    def _check_leftovers(self, folder: str, descriptor: int, files: dict[str, FileEntry]) -> None:
        known = self.one.layout.folders
        for name in os.listdir(descriptor):
            if name not in files and name != _CACHE and f"{folder}/{name}" not in known:
                raise _StaysError

    def _bytecode(self, folder: str, descriptor: int, files: dict[str, FileEntry]) -> None:
        with directory_beneath(descriptor, _CACHE) as cache:
            if cache is None:
                return
            for name in os.listdir(cache):
                found = match_bytecode(name, self.interpreter)
                source = None if found is None else files.get(f"{found[0]}.py")
                if (
                    found is not None
                    and source is not None
                    and self._is_pooled(cache, name, source, found[1])
                ):
                    path = f"{folder}/{_CACHE}" if folder else _CACHE
                    self.removal.names.setdefault(path, []).append(name)
                    self.removal.bytecode.append(f"{path}/{name}")

    def _is_pooled(self, cache: int, name: str, source: FileEntry, level: int) -> bool:
        """Return whether a file is a symlink or hard link to the pool's bytecode of *source*."""
        if _leads_to(cache, name, f"{self.links}bytecode/"):
            return True
        pooled = self.pools[level].find(source.digest, header_time(source.mtime_ns))
        return pooled is not None and os.path.samestat(
            pooled, os.stat(name, dir_fd=cache, follow_symlinks=False)
        )

    def _path_file(self, descriptor: int, name: str) -> None:
        if name.endswith(OUTDATED):
            try:
                os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return
            self.removal.names.setdefault("", []).append(name)
            self.removal.dropped.append((name, path_file_text(self.store, self.one.entry, name)))

    def _metadata(self, folder: str, descriptor: int, files: dict[str, FileEntry]) -> None:
        for name in files:
            kept = folder == self.one.distribution.metadata and name in KEPT_METADATA
            if not kept and _leads_to(descriptor, name, self.links):
                self.removal.names.setdefault(folder, []).append(name)


def _leads_to(folder: int, name: str, start: str) -> bool:
    try:
        return os.readlink(name, dir_fd=folder).startswith(start)
    except OSError:
        return False


def remove_modules(root: int, site: str, one: SiteDistribution, removal: ModuleRemoval) -> int:
    """Remove the files of *removal*, then empty folders; return the number of removed names."""
    count = 0
    files = [(folder, name) for folder, names in removal.names.items() for name in names]
    files.sort(key=lambda file: package_last("/".join(file)), reverse=True)
    for folder, group in groupby(files, key=itemgetter(0)):
        with directory_beneath(root, f"{site}/{folder}" if folder else site) as descriptor:
            if descriptor is not None:
                for _, name in group:
                    forget(descriptor, name)
                    count += 1
    metadata = set()
    for folder in removal.names:
        if folder.partition("/")[0] == one.distribution.metadata:
            parts = folder.split("/")
            metadata |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    folders = {folder for folder in one.layout.folders if folder} | metadata
    folders |= {f"{folder}/{_CACHE}" for folder in folders} | {_CACHE}
    for folder in sorted(folders, key=lambda path: -path.count("/")):
        above, _, name = folder.rpartition("/")
        with directory_beneath(root, f"{site}/{above}" if above else site) as descriptor:
            if descriptor is not None:
                forget_folder(descriptor, name)
    return count
