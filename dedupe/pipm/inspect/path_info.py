"""Explaining a path: its distribution, whether it is shared, how, and with which environments."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace, is_bytecode, is_installers_own
from pipm.env.environment import is_environment, load_environment
from pipm.env.installed import installed_distributions, place_in_environment
from pipm.env.receipt import receipt_at
from pipm.errors import NotAnEnvironmentError, NotFoundError
from pipm.finder.finder_usage import served_inodes
from pipm.fs.file_content import digest_file, is_program
from pipm.fs.measure import file_extents, measure_tree
from pipm.fs.opened import opened_folder
from pipm.fs.trust import trusted_users
from pipm.store.layout import VERSION

if TYPE_CHECKING:
    from pipm.core.record import Location, RecordRow
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.inventory import StoreInventory
    from pipm.store.roots import Root

NOT_YET = "not adopted yet"
"""The reason for a file that could be shared but is not."""


ENVIRONMENT = "environment"


@dataclass(frozen=True, kw_only=True, slots=True)
class PathFacts:
    """The facts about ``path``: ``kind`` is a word for it, ``distribution`` is ``name version`` or empty.

    ``by`` is how it is shared (hardlink, reflink, symlink, finder), or empty; then ``reason`` says why.
    ``apparent`` and ``shared`` are bytes; ``partners`` are paths of other environments that share it now.
    ``entries`` are the store's entries with this file.
    """

    path: str
    kind: str
    environment: str = ""
    distribution: str = ""
    by: str = ""
    reason: str = ""
    apparent: int = 0
    shared: int = 0
    files: int = 1
    partners: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()


def path_facts(path: str, inventory: StoreInventory, roots: list[Root]) -> PathFacts:
    """Return the facts about the absolute *path*; raise NotFoundError if it is in no environment or store."""
    if not os.path.lexists(path):
        served = _served(path, inventory)
        if served is not None:
            return served
        raise NotFoundError(f"{path} does not exist", hint="name a distribution, or an existing path")
    path = f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)}"
    if path.startswith(f"{inventory.path}/{VERSION}/"):
        return _stored(path, path.removeprefix(f"{inventory.path}/{VERSION}/"), inventory)
    environment = _environment_of(path)
    if environment is None:
        raise NotFoundError(
            f"{path} is neither in an environment nor in the store",
            hint="name a distribution, or a path in an environment",
        )
    root = next((root for root in roots if root.path == environment.path), None)
    if os.path.isdir(path) and not os.path.islink(path):
        return _folder(path, environment, root, inventory)
    return _PathSearch(path, environment, inventory, roots).facts()


def _served(path: str, inventory: StoreInventory) -> PathFacts | None:
    """Return the facts about a path that exists only in the store, from where the finder serves it."""
    environment = _environment_of(path)
    receipt = None if environment is None else receipt_at(environment.path)
    if environment is None or receipt is None:
        return None
    below = path.removeprefix(f"{environment.path}/{receipt.site}/")
    for served in receipt.served.values():
        stored = f"{served.layer or inventory.path}/{VERSION}/wheels/{served.entry}/site/{below}"
        if below != path and os.path.lexists(stored):
            size = _size(stored, inventory)
            return PathFacts(
                path=path,
                kind="folder" if os.path.isdir(stored) else "file",
                environment=environment.path,
                distribution=" ".join(served.entry.split("/")[:2]),
                by="finder",
                apparent=size,
                shared=size,
                entries=(served.entry,),
            )
    return None


def _environment_of(path: str) -> Environment | None:
    folder = path
    while folder not in ("", "/"):
        if is_environment(folder):
            return load_environment(folder)
        folder = os.path.dirname(folder)
    return None


def _stored(path: str, below: str, inventory: StoreInventory) -> PathFacts:
    """Return the facts about a path in the store itself."""
    kind, _, rest = below.partition("/")
    if kind == "wheels":
        depth = "/".join(rest.split("/")[:3])
        entries = [entry for entry in inventory.entries if f"{entry}/".startswith(f"{depth}/")]
        return PathFacts(
            path=path, kind="of the store's wheels", entries=tuple(entries), apparent=_size(path, inventory)
        )
    inode = os.lstat(path).st_ino
    if kind == "objects" and inode in inventory.objects:
        entries = [entry for entry, inodes in inventory.entries.items() if inode in inodes]
        return PathFacts(
            path=path, kind="object of the store", entries=tuple(entries), apparent=_size(path, inventory)
        )
    if kind == "bytecode" and rest.count("/") == 2:
        source = "".join(rest.split("/")[1:])
        inodes = {inode for inode, digest in inventory.objects.items() if digest == source}
        entries = [entry for entry, own in inventory.entries.items() if inodes & own]
        return PathFacts(
            path=path, kind="bytecode in the store", entries=tuple(entries), apparent=_size(path, inventory)
        )
    return PathFacts(path=path, kind="of the store itself", apparent=_size(path, inventory))


def _size(path: str, inventory: StoreInventory) -> int:
    if os.path.isdir(path):
        return measure_tree(path, inventory.stock).usage.apparent
    return os.lstat(path).st_size


def _folder(path: str, environment: Environment, root: Root | None, inventory: StoreInventory) -> PathFacts:
    whole = path == environment.path
    found = measure_tree(path, inventory.stock, served_inodes(path, inventory) if whole else ())
    below = "" if whole else f"{path.removeprefix(environment.path)}/".lstrip("/")
    names = {
        f"{one.name} {one.version}"
        for one in _installed(environment)
        if any(place_in_environment(one, location).startswith(below) for _, location in one.located)
    }
    entries = () if root is None else root.entries
    chosen = [entry for entry in entries if " ".join(entry.split("/")[:2]) in names]
    return PathFacts(
        path=path,
        kind=ENVIRONMENT if whole else "folder",
        environment=environment.path,
        distribution=", ".join(sorted(names)) if len(names) < 4 else f"{len(names)} distributions",
        by=root.link_mode if root is not None and found.stored else "",
        reason="" if found.stored else "nothing here is shared with the store",
        apparent=found.usage.apparent,
        shared=found.stored,
        files=found.usage.files,
        entries=tuple(chosen),
    )


def _installed(environment: Environment) -> list[InstalledDistribution]:
    with opened_folder(environment.path) as root:
        return installed_distributions(environment, root)


class _PathSearch:
    """One file of an environment."""

    def __init__(
        self, path: str, environment: Environment, inventory: StoreInventory, roots: list[Root]
    ) -> None:
        self._path = path
        self._relative = path.removeprefix(f"{environment.path}/")
        self._environment = environment
        self._inventory = inventory
        self._roots = roots
        self._digest = ""

    def facts(self) -> PathFacts:
        """Return its distribution, whether it is shared, how, and with which environments."""
        status = os.lstat(self._path)
        inodes = self._same_content(status)
        by = self._how(self._path, inodes)
        owner = self._owner()
        sources = self._sources(inodes)
        entries = [entry for entry, own in self._inventory.entries.items() if sources & own]
        return PathFacts(
            path=self._path,
            kind=self._kind(status),
            environment=self._environment.path,
            distribution="" if owner is None else f"{owner.name} {owner.version}",
            by=by,
            reason="" if by else self._reason(status, owner),
            apparent=status.st_size,
            shared=status.st_size if by else 0,
            partners=tuple(self._partners(entries, inodes)) if by else (),
            entries=tuple(entries),
        )

    def _kind(self, status: os.stat_result) -> str:
        if stat.S_ISLNK(status.st_mode):
            return "symbolic link"
        return "bytecode" if is_bytecode(self._relative) else "file"

    def _same_content(self, status: os.stat_result) -> set[int]:
        """Return the store's inodes with this content: its own, its target's, or those of its digest."""
        inventory = self._inventory
        if stat.S_ISLNK(status.st_mode):
            try:
                target = os.stat(self._path)
            except OSError:
                return set()
            return {target.st_ino} & inventory.listed.contents.keys()
        if status.st_dev == inventory.listed.device and status.st_ino in inventory.listed.contents:
            return {status.st_ino}
        # Another user's file may be sparse and endless: it is read only if the store has a file of its size.
        foreign = status.st_uid not in trusted_users() and status.st_size not in self._sizes()
        if foreign or not stat.S_ISREG(status.st_mode) or not status.st_size:
            return set()
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return set()
        try:
            self._digest = digest_file(file, status.st_size).hex()
        finally:
            os.close(file)
        return {inode for inode, name in inventory.objects.items() if name == self._digest}

    def _sizes(self) -> set[int]:
        return {content.size for content in self._inventory.listed.contents.values()}

    def _sources(self, inodes: set[int]) -> set[int]:
        """Return the objects of entries: for bytecode those of its source."""
        sources = {source for source, compiled in self._inventory.bytecode.items() if inodes & set(compiled)}
        if not sources:
            return inodes
        return {inode for inode, name in self._inventory.objects.items() if name in sources}

    def _how(self, path: str, inodes: set[int]) -> str:
        """Return how the file at *path* shares one of the store's *inodes*, or an empty text."""
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                return "symlink" if os.stat(path).st_ino in inodes else ""
        except OSError:
            return ""
        if status.st_ino in inodes and status.st_dev == self._inventory.listed.device:
            return "hardlink"
        shared = {extent.physical for extent in file_extents(path) if extent.shared}
        if not shared or not inodes:
            return ""
        places = {
            extent.physical
            for inode in inodes
            if inode in self._inventory.objects
            for extent in file_extents(self._inventory.object_path(inode))
        }
        return "reflink" if shared & places else ""

    def _partners(self, entries: list[str], inodes: set[int]) -> list[str]:
        """Return the other environments that use one of *entries* and share this file."""
        found = []
        for root in self._roots:
            if root.path == self._environment.path or not set(entries) & set(root.entries):
                continue
            if self._how(self._file_in(root.path), inodes):
                found.append(root.path)
        return found

    def _file_in(self, environment: str) -> str:
        """Return the same file in another environment, whose Python may have another version."""
        for site in self._environment.sites:
            if self._relative.startswith(f"{site}/"):
                try:
                    sites = load_environment(environment).sites
                except NotAnEnvironmentError:
                    sites = ()
                for other in sites:
                    path = f"{environment}/{other}{self._relative.removeprefix(site)}"
                    if os.path.lexists(path):
                        return path
        return f"{environment}/{self._relative}"

    def _owner(self) -> InstalledDistribution | None:
        wanted = {self._relative}
        folder, _, name = self._relative.rpartition("/")
        if is_bytecode(self._relative):
            wanted.add(f"{folder.removesuffix('/__pycache__')}/{name.partition('.')[0]}.py")
        for one in _installed(self._environment):
            if self._relative.startswith(f"{one.site}/{one.metadata}/") or any(
                place_in_environment(one, location) in wanted for _, location in one.located
            ):
                return one
        return None

    def _reason(self, status: os.stat_result, owner: InstalledDistribution | None) -> str:
        if stat.S_ISLNK(status.st_mode):
            return Reason.SYMLINK.value
        if not status.st_size:
            return Reason.EMPTY.value
        if owner is None:
            return "of no distribution"
        if owner.refusal is not None:
            return owner.refusal.value
        for row, location in owner.located:
            if place_in_environment(owner, location) == self._relative:
                return self._reason_of_row(row, location, status.st_size)
        return NOT_YET

    def _reason_of_row(self, row: RecordRow, location: Location, size: int) -> str:
        if location.place is RecordPlace.SCRIPT and not is_program(self._path):
            return Reason.SCRIPT.value
        if location.path.endswith(".pth"):
            return Reason.PATH_FILE.value
        if is_installers_own(location.path):
            return Reason.INSTALLERS_OWN.value
        if row.size not in (None, size) or (self._digest and row.digest and row.digest.hex() != self._digest):
            return Reason.MODIFIED.value
        return NOT_YET
