"""Roots: one small file for each environment; it is synced before files of the environment are replaced."""

from __future__ import annotations

import contextlib
import os

from pipm.core.named_tuple import NamedTuple
from pipm.core.sha256 import sha256
from pipm.errors import StoreError
from pipm.fs.beneath import directory_beneath
from pipm.fs.cache_files import parsed_json
from pipm.fs.durability import Aside, Durability, SmallFile, write_aside, write_durably, write_together
from pipm.fs.walk_tree import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.store.layout import Store

FORMAT = 1
ADOPTING = "adopting"
ADOPTED = "adopted"
PARTLY = "partly"
SYNCING = "syncing"
SYNCED = "synced"
ORIGINALS = "originals"
"""The folder of the store with the original modes and times of the files of adopted environments."""
_BORROWING = ("finder", "symlink")


class Root(NamedTuple):
    """An environment that uses the store.

    ``device`` and ``inode`` are those of its ``pyvenv.cfg``, so a copy of the environment is another one.
    ``changed`` is the last change of that inode (ctime in ns; 0: unknown), because a new file may get the
    inode number of a removed one.

    ``seen`` is the time of the last command (seconds since the epoch). ``state`` is ``adopting`` during the
    work, also after it was killed, and then ``adopted``. It is ``partly`` after some distributions were
    released, or if a file could not be shared. The states ``syncing`` and ``synced`` are for an environment
    that follows the lock file ``lock``. ``fingerprint`` is the digest of the lock's bytes and the options,
    ``content`` of the lock alone; ``words`` are the options. ``missing`` is the time (seconds) when gc first
    did not find the environment; 0 if it exists. ``pending`` is true if bytecode will be compiled later.
    ``released`` names the distributions that are not shared until they are adopted by name.
    """

    path: str
    device: int
    inode: int
    python: str
    link_mode: str
    state: str
    entries: tuple[str, ...]
    seen: float
    lock: str = ""
    missing: float = 0.0
    fingerprint: str = ""
    content: str = ""
    words: tuple[str, ...] = ()
    changed: int = 0
    pending: bool = False
    released: tuple[str, ...] = ()

    @property
    def borrows(self) -> bool:
        """True if it reads files by the store's path: then gc must keep them."""
        return self.link_mode in _BORROWING

    @property
    def name(self) -> str:
        """The root's file name."""
        return root_name(self.path)


def root_name(path: str) -> str:
    """Return the name of the root of the environment at the absolute *path*."""
    return sha256(os.fsencode(path)).hexdigest()[:32]


def write_root(store: Store, root: Root, durability: Durability = Durability.NOW) -> None:
    """Write *root* with *durability*.

    Entries that only the old root has get the current time as their last use, which gc reads.
    """
    _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
    write_durably(store.roots, root.name, _document(root), durability)


def write_roots(store: Store, roots: Iterable[Root], others: Iterable[SmallFile] = ()) -> None:
    """Write several roots with one sync; after a power cut each is the old or the new one.

    *others* are files that belong to the roots; they are renamed first.
    """
    files = []
    for root in roots:
        _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
        files.append(SmallFile(store.roots, root.name, _document(root)))
    write_together([*files, *others])  # it renames the last one first


def prepare_root(store: Store, root: Root) -> Aside:
    """Write *root* to a temporary file; the caller syncs the store's file system and then publishes it."""
    _touch(store, set(_entries_before(store, root.name)) - set(root.entries))
    return write_aside(store.roots, root.name, _document(root), synced=False)


def _document(root: Root) -> bytes:
    import json  # noqa: PLC0415 - a sync with nothing to do writes no root

    document = {"version": FORMAT, **root._asdict()}
    document["promise"] = document.pop("fingerprint")  # the key in the file
    return json.dumps(document, indent=1).encode("ascii")


def remove_root(store: Store, path: str) -> None:
    """Remove the root of the environment at *path*, durably."""
    _touch(store, _entries_before(store, root_name(path)))
    drop_root(store, path)


def drop_root(store: Store, path: str) -> None:
    """Remove the root of the environment at *path*; the last use of its entries does not change."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(root_name(path), dir_fd=store.roots)
        os.fsync(store.roots)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{ORIGINALS}/{root_name(path)}", dir_fd=store.v1)


def _entries_before(store: Store, name: str) -> tuple[str, ...]:
    try:
        return _read(store, name).entries
    except (FileNotFoundError, StoreError):
        return ()


def _touch(store: Store, entries: Iterable[str]) -> None:
    from pipm.fs.share_file import touch  # noqa: PLC0415 - a sync with nothing to do writes no root

    for entry in entries:
        with directory_beneath(store.v1, f"wheels/{entry}") as folder:
            if folder is not None:
                touch(folder)


def find_root(store: Store, path: str) -> Root | None:
    """Return the root of the environment at the absolute *path*, if it has one."""
    try:
        return _read(store, root_name(path))
    except FileNotFoundError:
        return None


def all_roots(store: Store) -> Iterator[Root]:
    """Yield every root, sorted by path; raise StoreError if one is damaged."""
    names = [name for name in names_in(store.roots) if not name.startswith(".")]
    yield from sorted((_read(store, name) for name in names), key=lambda root: root.path)


def damaged_roots(store: Store) -> list[str]:
    """List the files in ``roots/`` that are damaged."""
    found = []
    for name in sorted(names_in(store.roots)):
        if not name.startswith("."):
            try:
                _read(store, name)
            except StoreError:
                found.append(name)
    return found


def _read(store: Store, name: str) -> Root:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=store.roots)
    with open(file, "rb") as stream:
        data = stream.read()
    try:
        document = parsed_json("root", data)
        if not isinstance(document, dict) or document.pop("version") != FORMAT:
            raise ValueError("it has another format")  # noqa: TRY301 - the same message as for other damage
        document["entries"] = tuple(document["entries"])
        for key in ("words", "released"):
            document[key] = tuple(document.get(key, ()))
        document["fingerprint"] = document.pop("promise", "")
        return Root(**document)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The root {store.path}/v1/roots/{name} is damaged: {error}",
            hint="`pipm verify --rebuild` writes roots again from existing files",
        ) from error
