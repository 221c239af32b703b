"""`pipm verify --rebuild`: make manifests, objects, the index of wheels and roots again from files."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.context.environment_lock import root_of
from pipm.context.liveness import FINDER_FOLDER
from pipm.core.digest import EMPTY, Digest
from pipm.core.importable import is_importable, packages_in
from pipm.core.manifest import FileEntry, Manifest, identity_of
from pipm.core.plan.adopt_plan import OWNER_WRITES
from pipm.core.record import RecordPlace, is_bytecode
from pipm.env.environment import load_environment
from pipm.env.installed import installed_distributions
from pipm.errors import NotAnEnvironmentError, StoreError
from pipm.fs.beneath import open_directory_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.measure import shares_extents
from pipm.fs.opened import opened, opened_folder
from pipm.fs.share_file import NewFile, Stored, forget, give_name
from pipm.fs.walk_tree import walk_entries
from pipm.store.entries import (
    MANIFEST,
    PARTIAL,
    all_entries,
    entry_names,
    entry_of_wheel,
    index_wheel,
    load_manifest,
)
from pipm.store.layout import VERSION
from pipm.store.objects import ObjectFolders, find_object
from pipm.store.roots import PARTLY, damaged_roots, find_root, write_root
from pipm.store.trash import move_to_trash, new_batch
from pipm.verify.sharing_environments import environment_files
from pipm.verify.stored_files import digest_of_stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store

_FROM_ENVIRONMENT = "environment "
_SCHEMES = ("site", "data", "headers", "scripts")


@dataclass(slots=True)
class Rebuilt:
    """The numbers of rebuilt files by kind; ``roots`` are the environments that are known again."""

    manifests: int = 0
    objects: int = 0
    wheels: int = 0
    roots: list[str] = field(default_factory=list)


def rebuild(store: Store, environments: Iterable[str]) -> Rebuilt:
    """Make again what *store* lost, from its entries, *environments*, and the environments in manifests.

    The caller holds the store's lock alone.
    """
    done = Rebuilt()
    batch = new_batch(time.time())
    for name in damaged_roots(store):
        forget(store.roots, name)
    rooms = ObjectFolders(store.objects)
    origins: dict[str, None] = dict.fromkeys(environments)
    for entry in list(all_entries(store)):
        try:
            manifest = load_manifest(store, entry)
        except StoreError:
            made = _manifest_of(store, entry)
            if made is None:  # its files do not have the identity that its name says
                move_to_trash(store, entry, batch)
                continue
            manifest = made
            done.manifests += 1
        done.objects += _name_objects(store, entry, manifest, rooms)
        for wheel in manifest.wheels:
            if entry_of_wheel(store, wheel) is None:
                index_wheel(store, wheel, entry)
                done.wheels += 1
        if manifest.origin.startswith(_FROM_ENVIRONMENT):
            origins[manifest.origin.removeprefix(_FROM_ENVIRONMENT)] = None
    for path in origins:
        if _register(store, path):
            done.roots.append(path)
    return done


def _manifest_of(store: Store, entry: str) -> Manifest | None:
    """Write the manifest of *entry* from its files; return None if their identity is not that of its name."""
    name, version, folder = entry.split("/")
    tag, _, identity8 = folder.rpartition("-")
    files = []
    for directory, row in walk_entries(f"{store.path}/{VERSION}/wheels/{entry}"):
        path = f"{directory}/{row.name}"
        if directory.split("/")[0] in _SCHEMES and not is_bytecode(path):
            status = row.stat(follow_symlinks=False)
            digest = digest_of_stored(store, f"wheels/{entry}/{path}")
            executable = bool(status.st_mode & stat.S_IXUSR)
            stored = Stored.of(status)
            files.append(FileEntry(path, digest, status.st_size, executable, False, *stored))
    identity = identity_of(
        (file.path.removeprefix("site/"), file.digest, file.executable)
        for file in files
        if file.path.startswith("site/")
    )
    if identity.hex()[:8] != identity8:
        return None
    partial = os.path.lexists(f"{store.path}/{VERSION}/wheels/{entry}/{PARTIAL}")
    site = (file.path.removeprefix("site/") for file in files if file.path.startswith("site/"))
    packages = packages_in(site)
    manifest = Manifest(
        name=name,
        version=version,
        tag=tag,
        identity=identity,
        origin="rebuilt",
        files=tuple(sorted(_of_its_kind(file, packages) for file in files)),
        missing=("scripts/unknown",) if partial else (),
    )
    with opened(open_directory_beneath(store.v1, f"wheels/{entry}")) as place:
        write_durably(place, MANIFEST, manifest.to_json())
    return manifest


def _of_its_kind(file: FileEntry, packages: frozenset[str]) -> FileEntry:
    """Return *file* with its kind of object: only data that its owner may write is ``writable``.

    Stores of earlier versions have one kind of read-only object.
    """
    scheme, _, path = file.path.partition("/")
    importable = scheme == "site" and is_importable(path, packages)
    return file._replace(writable=not importable and file.mode & OWNER_WRITES != 0)


def _name_objects(store: Store, entry: str, manifest: Manifest, rooms: ObjectFolders) -> int:
    """Link files of the tree that have the right bytes as objects again; return how many."""
    made = 0
    for file in manifest.files:
        name = file.object_name
        if file.digest == EMPTY or find_object(store.objects, name) is not None:
            continue
        stored = f"wheels/{entry}/{file.path}"
        if digest_of_stored(store, stored) == file.digest:
            rooms.make(name)
            made += give_name(NewFile(store.v1, stored), store.objects, name)
    return made


def _register(store: Store, path: str) -> bool:
    """Write the root of the environment at *path* if it has none and shares files; return True if written."""
    try:
        environment = load_environment(path)
    except NotAnEnvironmentError:
        return False
    known = find_root(store, environment.path)
    if known is not None and known.inode == environment.inode:
        return False
    mode = _link_mode(store, environment)
    if mode is None:
        return False
    with opened_folder(environment.path) as root:
        entries = {
            _entry_of(store, distribution) for distribution in installed_distributions(environment, root)
        }
    # Not ADOPTED: the next adopt must compare each file before it counts as shared.
    found = tuple(sorted(entry for entry in entries if entry is not None))
    write_root(store, root_of(environment, mode, PARTLY, found), Durability.NOW)
    return True


def _link_mode(store: Store, environment: Environment) -> str | None:
    """Return the link mode of most files of *environment*; None if it shares none."""
    if os.path.isdir(f"{environment.path}/{FINDER_FOLDER}"):
        return "finder"
    modes: Counter[str] = Counter()
    for environment_file in environment_files(store, environment):
        status, stored = environment_file.fact.status, environment_file.fact.stored
        assert status is not None
        if os.path.islink(environment_file.path):
            modes["symlink"] += 1
        elif stored is not None and stored.st_ino == status.st_ino:
            modes["hardlink"] += 1
        elif stored is not None and environment_file.fact.sound and shares_extents(environment_file.path):
            modes["reflink"] += 1
    return modes.most_common(1)[0][0] if modes else None


def _entry_of(store: Store, distribution: InstalledDistribution) -> str | None:
    """Return the entry that agrees with most rows of the distribution's RECORD, or None."""
    rows: dict[str, Digest | None] = {
        f"site/{location.path}": row.digest
        for row, location in distribution.located
        if location.place is RecordPlace.SITE
    }
    best, agreeing = None, 0
    for entry in entry_names(store, distribution.name, distribution.version):
        try:
            files = load_manifest(store, entry).files
        except StoreError:
            continue
        number = sum(file.path in rows and rows[file.path] in (None, file.digest) for file in files)
        if number > agreeing:
            best, agreeing = entry, number
    return best
