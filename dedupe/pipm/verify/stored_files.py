"""Comparing the store's files with their manifests and names."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.core.digest import EMPTY, Digest
from pipm.core.plan.verify_plan import ExpectedFile, Flaw, is_suspicious, judge_file
from pipm.errors import StoreError
from pipm.fs.beneath import status_beneath
from pipm.fs.file_content import digest_at
from pipm.fs.walk_tree import named_inodes
from pipm.fs.xattrs import has_attributes
from pipm.store.entries import all_entries, load_manifest
from pipm.store.layout import VERSION
from pipm.store.objects import parse_object, trusted_owners

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from pipm.core.manifest import Manifest
    from pipm.store.layout import Store

_NOBODYS = Digest(bytes(32))


@dataclass(slots=True)
class CheckedFile:
    """One inode of the store (or a name without a file) with its names below ``v1/``.

    ``actual`` is its digest if it was read. ``link_identical``: another expectation has the same inode (a
    program that links duplicate files made one inode of a plain and an executable file).
    """

    expected: ExpectedFile
    status: os.stat_result | None
    names: list[str]
    actual: Digest | None = None
    flaw: Flaw | None = None
    link_identical: bool = False

    @property
    def shown(self) -> str:
        """The path in its entry, otherwise its name in the store."""
        for name in self.names:
            if name.startswith("wheels/"):
                return name.split("/", 4)[4]
        return self.names[0]

    @property
    def entries(self) -> list[str]:
        """The entries (paths below ``wheels/``) that contain it."""
        trees = [name.split("/")[1:4] for name in self.names if name.startswith("wheels/")]
        return list(dict.fromkeys("/".join(parts) for parts in trees))

    @property
    def entry(self) -> str:
        """The first entry that contains it; empty if none does."""
        return next(iter(self.entries), "")


@dataclass(slots=True)
class StoredFiles:
    """All files of the store by inode, the manifests of entries, and entries with an unreadable manifest.

    ``strange`` are names among the objects that are not a digest: another program wrote them.
    """

    files: list[CheckedFile] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    unreadable: dict[str, StoreError] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def by_inode(self) -> dict[int, list[CheckedFile]]:
        """Return the files by inode number; an inode with two expectations has two files."""
        found: dict[int, list[CheckedFile]] = {}
        for file in self.files:
            if file.status is not None:
                found.setdefault(file.status.st_ino, []).append(file)
        return found

    def duplicates(self) -> list[CheckedFile]:
        """Return undamaged files of entries that should have the inode of their object, and do not.

        A copy of the store that does not keep hard links (rsync without -H) makes them.
        """
        objects = {name: file for file in self.files for name in file.names if name.startswith("objects/")}
        found = []
        for file in self.files:
            stored = objects.get(f"objects/{file.expected.object_name}")
            if stored is not None and stored is not file and stored.flaw is None and file.flaw is None:
                found += [file] if stored.expected == file.expected else []
        return found

    def by_digest(self) -> dict[Digest, list[CheckedFile]]:
        """Return the files of each content, executable or not."""
        found: dict[Digest, list[CheckedFile]] = {}
        for file in self.files:
            found.setdefault(file.expected.digest, []).append(file)
        return found


def list_stored_files(store: Store, entries: Iterable[str] | None = None) -> StoredFiles:
    """Stat every file of *entries* and their objects; None means the whole store."""
    inventory = StoredFiles()
    names: dict[str, list[ExpectedFile]] = {}
    for entry in all_entries(store) if entries is None else entries:
        try:
            manifest = inventory.manifests[entry] = load_manifest(store, entry)
        except StoreError as error:
            inventory.unreadable[entry] = error
            continue
        for name, expected in _expected_files(entry, manifest):
            names.setdefault(name, []).append(expected)
    if entries is None:
        for name, _ in named_inodes(f"{store.path}/{VERSION}/objects", 1, "objects/"):
            named = _expected_by_name(name)
            if named is None:
                inventory.strange.append(name)
            else:
                names.setdefault(name, [named])
    inodes: dict[int, dict[ExpectedFile, CheckedFile]] = {}
    for name, expectations in names.items():
        status = status_beneath(store.v1, name)
        expected = _fitting(expectations, status)
        files = {} if status is None else inodes.setdefault(status.st_ino, {})
        known = files.get(expected)
        if known is not None:
            known.names.append(name)
            continue
        file = files[expected] = CheckedFile(expected, status, [name], link_identical=bool(files))
        inventory.files.append(file)
    return inventory


def _fitting(expectations: list[ExpectedFile], status: os.stat_result | None) -> ExpectedFile:
    """Return the expectation that the file meets, otherwise the first.

    Entries may record different times for one content: a repair replaces a damaged object by the copy of
    another environment.
    """
    if status is not None:
        for expected in expectations:
            if expected.mtime_ns == status.st_mtime_ns:
                return expected
    return expectations[0]


def _expected_files(entry: str, manifest: Manifest) -> Iterator[tuple[str, ExpectedFile]]:
    for row in manifest.files:
        path, expected = row.path, ExpectedFile(*row[1:])
        yield f"wheels/{entry}/{path}", expected
        if expected.digest != EMPTY:
            yield f"objects/{expected.object_name}", expected


def check_file(store: Store, file: CheckedFile, *, full: bool) -> None:
    """Set the file's flaw; read its bytes if its stat is suspicious, or in a *full* check."""
    status, name = file.status, file.names[0]
    if status is None or not stat.S_ISREG(status.st_mode):
        file.flaw = judge_file(file.expected, status, None, trusted_owners())
        return
    if full or file.link_identical or is_suspicious(file.expected, status):
        file.actual = digest_of_stored(store, name)
    file.flaw = judge_file(file.expected, status, file.actual, trusted_owners())
    if file.flaw in (None, Flaw.MODE, Flaw.TIME):
        if file.link_identical:
            file.flaw = Flaw.INODE
        elif has_attributes(f"{store.path}/{VERSION}/{name}"):
            file.flaw = Flaw.ATTRIBUTES


def check_files(
    store: Store, inventory: StoredFiles, *, full: bool, advance: Callable[[int], None]
) -> list[CheckedFile]:
    """Check all files of *inventory*; return those with a flaw."""
    for file in inventory.files:
        check_file(store, file, full=full)
        advance(0 if file.status is None else file.status.st_size)
    return [file for file in inventory.files if file.flaw is not None]


def digest_of_stored(store: Store, name: str) -> Digest:
    """Return the digest of a file below ``v1/``; 32 zero bytes if it cannot be read."""
    try:
        return digest_at(store.v1, name)
    except OSError:
        return _NOBODYS


def _expected_by_name(name: str) -> ExpectedFile | None:
    """Return what the name of an object says about it; None if it is not the name of an object."""
    kind = parse_object(name)
    return None if kind is None else ExpectedFile(kind[0], None, kind[1], kind[2], None, None)
