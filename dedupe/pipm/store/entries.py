"""Wheel entries: ``wheels/<name>/<version>/<tag>-<first 8 digits of the identity>/``."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from pipm.errors import StoreError
from pipm.fs.beneath import is_there, open_beneath, open_directory_beneath
from pipm.fs.durability import Durability
from pipm.fs.opened import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.core.digest import Digest
    from pipm.core.manifest import Label, Manifest, Row
    from pipm.fs.tree_builder import TreeBuilder
    from pipm.store.layout import Store

MANIFEST = "manifest.json"
SITE, LIBRARY, MODULES = "site", "site-packages", "modules/site-packages"
"""The folders of an entry with its modules. SITE has the files of site-packages.

The finder uses one of the two others: LIBRARY is a symlink to SITE; MODULES has a symlink for each name in
SITE except metadata.
"""
EDITABLE = "0.editable"
"""The build number of editable wheels, which refer to a project's folder; setuptools uses it, too."""
_CACHE = "__pycache__"
PARTIAL = "partial"
"""An empty file of this name marks an entry that lacks files of its wheel."""
_HEAD = rb'\{"version":[12],"name":"[^"]*","release":"[^"]*","tag":"[^"]*","identity":"([0-9a-f]{64})"'
"""Matches the beginning of a manifest with the identity, so that its rows need not be read."""
_HEAD_SIZE = 4096
_RENAME_EXCHANGE = 2


def served_folder(store: Store, entries: Iterable[str], *, metadata: bool) -> str:
    """Return the path, below each of *entries*, of the folder for `sys.path`; make missing ones.

    Debuggers and error trackers recognise libraries by the name ``site-packages``. Other programs look for
    metadata in each folder of `sys.path`. So the folder has *metadata* only if the environment itself has
    none; else these programs would list each distribution twice.
    """
    folder = LIBRARY if metadata else MODULES
    lacking = [entry for entry in entries if not is_there(store.v1, f"wheels/{entry}/{folder}")]
    if not lacking:
        return folder
    from pipm.fs.tree_builder import TreeBuilder  # noqa: PLC0415 - few syncs make such a folder

    top = folder.partition("/")[0]
    try:
        with store.run() as (run, _):
            for number, entry in enumerate(lacking):
                tree = TreeBuilder(run, str(number))
                if metadata:
                    tree.symlink(SITE, LIBRARY)
                else:
                    _name_modules(tree, _listed(store, f"wheels/{entry}/{SITE}"))
                _rename_new(run, f"{number}/{top}", store.v1, f"wheels/{entry}/{top}")
    except OSError:
        return SITE  # read-only, or no room
    return folder


def _name_modules(tree: TreeBuilder, names: list[str]) -> None:
    """Make MODULES with a symlink for each of *names* in SITE, and for the folder of their bytecode."""
    tree.make_folders(f"{MODULES}/")
    for name in served_names(names):
        tree.symlink(f"../../{SITE}/{name}", f"{MODULES}/{name}")


def served_names(names: Iterable[str]) -> list[str]:
    """Return the names in MODULES of an entry that has *names* in SITE."""
    caches = [_CACHE] if any(name.endswith(".py") for name in names) else []
    several = dict.fromkeys([*names, *caches])
    return [name for name in several if not name.endswith((".dist-info", ".egg-info"))]


def _rename_new(source: int, name: str, target: int, path: str) -> bool:
    """Rename *name* to *path* in directory *target*; return False if another process was faster."""
    try:
        os.rename(name, path, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def entry_names(store: Store, name: str, version: str) -> list[str]:
    """List the entries of a release, as paths below ``wheels/``; names and versions are normalised."""
    return [f"{name}/{version}/{entry}" for entry in _listed(store, f"wheels/{name}/{version}")]


def is_editable_entry(entry: str) -> bool:
    """Return whether *entry* refers to a folder and is not a release."""
    return os.path.basename(entry).startswith(f"{EDITABLE}-")


def versions_of(store: Store, name: str) -> list[str]:
    """List the versions of a distribution for which the store has entries."""
    return _listed(store, f"wheels/{name}")


def find_entry(store: Store, name: str, version: str, identity: Digest) -> str | None:
    """Return the path below ``wheels/`` of the entry with *identity*; the tag does not matter."""
    ending = f"-{identity.hex()[:8]}"
    for entry in entry_names(store, name, version):
        # The eight digits are no proof: an attacker can make two wheels with the same ones.
        if entry.endswith(ending) and _identity(store, entry) == identity:
            return entry
    return None


def _identity(store: Store, entry: str) -> Digest:
    import re  # noqa: PLC0415 - takes 4 ms; a sync with nothing to do looks for no entry

    from pipm.core.digest import Digest  # noqa: PLC0415 - likewise

    try:
        file = open_beneath(store.v1, f"wheels/{entry}/{MANIFEST}", os.O_RDONLY)
        with open(file, "rb") as stream:
            head = re.match(_HEAD, stream.read(_HEAD_SIZE))
    except OSError:
        head = None  # load_manifest raises the error
    return Digest.from_hex(head[1].decode("ascii")) if head else load_manifest(store, entry).identity


def is_partial(store: Store, entry: str) -> bool:
    """Return whether *entry* lacks files of its wheel, by one stat."""
    return is_there(store.v1, f"wheels/{entry}/{PARTIAL}")


def has_entry(store: Store, entry: str) -> bool:
    """Return whether *entry* exists, partial or complete."""
    return is_there(store.v1, f"wheels/{entry}/{MANIFEST}")


def manifest_inode(store: Store, entry: str) -> int:
    """Return the inode of the manifest of *entry*, which changes with the manifest; 0 if there is none."""
    try:
        return os.stat(f"wheels/{entry}/{MANIFEST}", dir_fd=store.v1, follow_symlinks=False).st_ino
    except OSError:
        return 0


def has_complete_entry(store: Store, entry: str) -> bool:
    """Return whether *entry* exists and is complete."""
    return has_entry(store, entry) and not is_partial(store, entry)


def load_manifest(store: Store, entry: str) -> Manifest:
    """Read the manifest of *entry* (a path below ``wheels/``); raise StoreError if it is damaged."""
    try:
        return _read_manifest(store.v1, f"wheels/{entry}")
    except (OSError, ValueError) as error:
        raise _unreadable(store, entry, error) from error


def _unreadable(store: Store, entry: str, error: Exception) -> StoreError:
    return StoreError(
        f"The store's entry {entry} has no readable manifest: {error}",
        hint=f"remove {store.path}/v1/wheels/{entry}; the next adopt makes it again",
    )


def recorded_rows(store: Store, entry: str) -> list[Row]:
    """Read the rows in the manifest of *entry*; raise StoreError if it is damaged."""
    from pipm.core.manifest import rows_in  # noqa: PLC0415 - a warm sync reads none

    try:
        with open(open_beneath(store.v1, f"wheels/{entry}/{MANIFEST}", os.O_RDONLY), "rb") as stream:
            return rows_in(stream.read())
    except (OSError, ValueError) as error:
        raise _unreadable(store, entry, error) from error


def _read_manifest(directory: int, tree: str) -> Manifest:
    from pipm.core.manifest import Manifest  # noqa: PLC0415 - a warm sync reads none

    with open(open_beneath(directory, f"{tree}/{MANIFEST}", os.O_RDONLY), "rb") as stream:
        return Manifest.from_json(stream.read())


def all_entries(store: Store) -> Iterator[str]:
    """Yield every entry's path below ``wheels/``, sorted."""
    for name in sorted(_listed(store, "wheels")):
        for version in sorted(_listed(store, f"wheels/{name}")):
            yield from sorted(entry_names(store, name, version))


def _listed(store: Store, path: str) -> list[str]:
    try:
        folder = open_directory_beneath(store.v1, path)
    except FileNotFoundError:
        return []
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)


def changed_files(store: Store, entries: Iterable[str]) -> Iterator[str]:
    """Yield the files of *entries* (below ``wheels/``) that have another time than their manifest records."""
    for entry in entries:
        rows: list[Row] = []
        with contextlib.suppress(StoreError):  # `verify` reports a damaged manifest
            rows = recorded_rows(store, entry)
        for path, *_, mtime_ns in rows:
            with contextlib.suppress(OSError):  # and a missing file
                status = os.stat(f"wheels/{entry}/{path}", dir_fd=store.v1, follow_symlinks=False)
                if status.st_mtime_ns != mtime_ns:
                    yield f"{entry}/{path}"


def is_linked(store: Store, entry: str) -> bool:
    """Return whether the first file of *entry* has its object's inode; in a copied store it may not."""
    for file in load_manifest(store, entry).files:
        with contextlib.suppress(FileNotFoundError):
            stored = os.stat(f"objects/{file.object_name}", dir_fd=store.v1)
            return os.path.samestat(stored, os.stat(f"wheels/{entry}/{file.path}", dir_fd=store.v1))
    return True


def publish_entry(store: Store, run: int, tree: str, label: Label, *, replacing: bool = False) -> str:
    """Rename the finished and synced *tree* (in the run's folder) to the entry of *label*; return its path.

    If another process published the entry first, that entry is used. A partial entry is exchanged atomically;
    with *replacing* a complete entry, too. The path is below ``wheels/``.
    """
    from pipm.fs.removal import remove_tree  # noqa: PLC0415 - a sync with nothing to do publishes nothing

    existing = find_entry(store, label.name, label.version, label.identity)
    if existing is None:
        entry = label.directory
        os.makedirs(f"{store.path}/v1/wheels/{label.name}/{label.version}", 0o700, exist_ok=True)
        if _rename_new(run, tree, store.v1, f"wheels/{entry}"):
            return entry
        existing = entry
    known = load_manifest(store, existing)
    if known.identity != label.identity:
        raise StoreError(
            f"The store's entry {existing} has the same short name as another wheel of that release",
            hint=f"somebody made one of the two to look like the other; remove"
            f" {store.path}/v1/wheels/{existing} if you do not trust it",
        )
    if replacing or _completes(_read_manifest(run, tree), known):
        with _locked_index(store):  # another process may write to the entry's manifest
            _exchange(run, tree, store.v1, f"wheels/{existing}")
    remove_tree(run, tree)
    return existing


def _completes(new: Manifest, old: Manifest) -> bool:
    of_archive = bool(new.wheels) and not old.wheels  # only an archive has all data files and scripts
    return of_archive or len(new.missing) < len(old.missing) or len(new.files) > len(old.files)


def _exchange(run: int, tree: str, v1: int, entry: str) -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - few entries are exchanged

        library = ctypes.CDLL(None, use_errno=True)
        if not library.renameat2(run, os.fsencode(tree), v1, os.fsencode(entry), _RENAME_EXCHANGE):
            return
    # Without RENAME_EXCHANGE the entry is missing for a moment; a process that needs it ingests it again.
    os.rename(entry, f"{tree}.old", src_dir_fd=v1, dst_dir_fd=run)
    os.rename(tree, entry, src_dir_fd=run, dst_dir_fd=v1)
    os.rename(f"{tree}.old", tree, src_dir_fd=run, dst_dir_fd=run)


@contextlib.contextmanager
def _locked_index(store: Store) -> Iterator[int]:
    """Hold the lock of the index of archives, with which manifests of entries change; yield its folder."""
    from pipm.fs.flock import locked_folder  # noqa: PLC0415 - a sync with nothing to do changes none

    with (
        opened(open_directory_beneath(store.v1, "by-wheel")) as index,
        locked_folder(index, what="the store's index of wheels"),
    ):
        yield index


def link_archives(store: Store, archives: Iterable[tuple[str, Digest]]) -> None:
    """Record pairs of an entry and the archive that unpacks to it, in manifests and index, with one sync."""
    from pipm.fs.durability import SmallFile, write_together  # noqa: PLC0415 - likewise

    with contextlib.ExitStack() as stack:
        index = stack.enter_context(_locked_index(store))
        several: dict[str, list[Digest]] = {}
        for entry, archive in archives:
            several.setdefault(entry, []).append(archive)
        from dataclasses import replace  # noqa: PLC0415 - a sync without changes does not need it

        files = []
        for entry, added in several.items():
            manifest = load_manifest(store, entry)
            wheels = tuple(dict.fromkeys((*manifest.wheels, *added)))
            if wheels != manifest.wheels:
                data = replace(manifest, wheels=wheels).to_json()
                folder = stack.enter_context(opened(open_directory_beneath(store.v1, f"wheels/{entry}")))
                files.append(SmallFile(folder, MANIFEST, data))
            files += [SmallFile(index, archive.hex(), f"{entry}\n".encode("ascii")) for archive in added]
        write_together(files)


def entry_of_wheel(store: Store, wheel: Digest) -> str | None:
    """Return the entry of the wheel archive with this sha256; None if the store has none."""
    try:
        file = open_beneath(store.v1, f"by-wheel/{wheel.hex()}", os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(file, encoding="ascii") as stream:
        entry = stream.read().strip()
    with contextlib.suppress(OSError):
        os.close(open_directory_beneath(store.v1, f"wheels/{entry}"))
        return entry
    return None


def index_wheel(store: Store, wheel: Digest, entry: str, durability: Durability = Durability.NOW) -> None:
    """Record that the wheel archive with this sha256 unpacks to *entry*."""
    from pipm.fs.durability import write_durably  # noqa: PLC0415 - likewise

    with opened(open_directory_beneath(store.v1, "by-wheel")) as folder:
        write_durably(folder, wheel.hex(), f"{entry}\n".encode("ascii"), durability)
