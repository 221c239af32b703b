"""Finding out whether the environments that the store knows still exist."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pipm.core.plan.gc_plan import Fate, RootFact
from pipm.env.places import CONFIGURATION, marker_of
from pipm.fs.walk_tree import inodes_below, walk_entries
from pipm.store.roots import all_roots

if TYPE_CHECKING:
    from pipm.store.layout import Store
    from pipm.store.roots import Root

FINDER_FOLDER = ".pipm"
"""The folder of a finder environment's table."""


def root_facts(store: Store) -> list[RootFact]:
    """Return the facts about each environment that *store* knows; raise StoreError for a damaged root."""
    device = os.fstat(store.objects).st_dev
    return [_fact(store, root, device) for root in all_roots(store)]


def _fact(store: Store, root: Root, device: int) -> RootFact:
    fate, vanished = environment_fate(root, store.path, device)
    if root.missing:
        vanished = min(vanished, root.missing)
    seen = max(root.seen, vanished) if fate is not Fate.ALIVE else root.seen
    return RootFact(
        path=root.path,
        marker=(root.device, root.inode),
        entries=root.entries,
        fate=fate,
        seen=seen,
        borrows=root.borrows,
        noted=root.missing > 0,
    )


def environment_fate(root: Root, store_path: str, device: int) -> tuple[Fate, float]:
    """Return the fate of an environment, and the latest second when it vanished; *device* is the store's."""
    try:
        marker = os.stat(f"{root.path}/{marker_of(root.path) or CONFIGURATION}")
    except (FileNotFoundError, NotADirectoryError):
        return _missing(root, device)
    except OSError:  # no permission, or a stale mount: it may still exist
        return Fate.UNREACHABLE, 0.0
    # A device's number may change with each mount; an inode's number does not.
    if marker.st_ino == root.inode or still_shares(root, store_path):
        return Fate.ALIVE, 0.0
    return Fate.REPLACED, marker.st_ctime


def _missing(root: Root, device: int) -> tuple[Fate, float]:
    """Return whether a missing environment is gone: the nearest existing folder is on the same file system.

    If its disk is not mounted, that folder is on another file system. An environment that shares blocks or
    inodes was on the store's file system.
    """
    directory = root.path
    while True:
        try:
            status = os.stat(directory)
        except (FileNotFoundError, NotADirectoryError):
            directory = os.path.dirname(directory)
            continue
        except OSError:
            return Fate.UNREACHABLE, 0.0
        if status.st_dev == root.device or (not root.borrows and status.st_dev == device):
            return Fate.GONE, status.st_mtime
        return Fate.UNREACHABLE, 0.0


def still_shares(root: Root, store_path: str) -> bool:
    """Return whether the environment still shares the store's files, though ``pyvenv.cfg`` is another inode.

    This happens after a restore that keeps hard links (tar, ``rsync -H``).
    """
    if root.borrows:
        return _still_borrows(root, store_path)
    try:
        device = os.stat(store_path).st_dev
    except OSError:
        return False
    trees = [f"{store_path}/v1/wheels/{entry}/site" for entry in root.entries]
    stored = {inode for tree in trees for inode in inodes_below(tree)}
    for _, entry in walk_entries(root.path) if stored else ():
        if entry.inode() in stored and entry.stat(follow_symlinks=False).st_dev == device:
            return True
    return False


def _still_borrows(root: Root, store_path: str) -> bool:
    """Return whether the environment has the finder, or symlinks into the store."""
    if os.path.isdir(f"{root.path}/{FINDER_FOLDER}"):
        return True
    for _, entry in walk_entries(root.path):
        if stat.S_ISLNK(entry.stat(follow_symlinks=False).st_mode) and os.readlink(entry.path).startswith(
            f"{store_path}/"
        ):
            return True
    return False
