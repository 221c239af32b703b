"""`pipm gc`: forget environments that are gone, remove what no environment needs.

Theory of operation. gc holds the store's lock exclusively, so no process writes. It removes roots first:
the next run finds an entry without a name again, but a name without an entry would be an error. It moves
each entry by one rename(2), then unlinks the objects and bytecode that no remaining tree has. These steps
need neither a block nor an inode, so they work on a full disk. Steps that write come last: the trash, if an
environment that reads the store's files could need an entry, and notes in roots. gc lists a file that it
cannot remove (an immutable one), and removes everything else.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipm.errors import UsageError
from pipm.fs.durability import sync_file_system
from pipm.fs.free_space import accounting, file_system_type, free_space, stable_free_space
from pipm.fs.os_errors import explain_os_error
from pipm.gc.carry_out import GarbageRemoval
from pipm.gc.find_garbage import find_garbage
from pipm.store.entries import all_entries, changed_files
from pipm.store.layout import RESERVE_SIZE, keep_reserve, open_store, release_reserve, reserved_bytes
from pipm.store.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.context.progress import Progress
    from pipm.core.plan.gc_plan import Limits, RootFact
    from pipm.fs.removal import Stuck
    from pipm.gc.find_garbage import Garbage
    from pipm.store.layout import Store

_TOLERANCE = 0.1
_SLACK = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """The result of a collection, also of a dry run; ``bytes_freed`` on disk, ``seconds`` of wall time.

    ``bytes_estimated`` of these are an estimate of metadata. ``stuck`` are files that could not be
    removed. ``later``: entries are in the trash for a while, since an environment that the store did not find
    could need them. ``missing`` are missing environments that stay known, ``busy`` entries that
    stay because a process has them in its memory. ``changed`` are changed files of entries that stay.
    """

    entries_removed: tuple[str, ...] = ()
    objects_removed: int = 0
    bytes_freed: int = 0
    bytes_estimated: int = 0
    roots_dropped: tuple[str, ...] = ()
    missing: tuple[RootFact, ...] = ()
    busy: tuple[str, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    later: bool = False
    changed: tuple[str, ...] = ()
    seconds: float = 0.0


def preview_collection(store: Store, limits: Limits) -> Collection:
    """Return what a collection would do; change nothing and take no lock."""
    started = time.monotonic()
    return _collection(find_garbage(store, limits, time.time()), started)


def collect(
    store_path: str,
    limits: Limits,
    progress: Progress,
    *,
    dry_run: bool = False,
    timeout: float | None = None,
) -> Collection:
    """Remove what no environment needs from the store at *store_path*.

    Waits for other processes at most *timeout* seconds, by default as long as for all locks.
    Raises PipmError.
    """
    started = time.monotonic()
    store = open_store(store_path, create=False)
    if store is None:
        return Collection()
    try:
        if dry_run:
            garbage = find_garbage(store, limits, time.time(), progress)
            _refuse_living(limits, garbage, store)
            return _collection(garbage, started)

        # This waits for the disk, so other processes may continue meanwhile.
        exact = accounting(file_system_type(store.path)).exact
        before = None if exact else stable_free_space(store.v1)
        with store.alone(timeout):
            left = store.sweep()
            garbage = find_garbage(store, limits, time.time(), progress)
            _refuse_living(limits, garbage, store)
            removal = GarbageRemoval(store, garbage, progress)
            with _room(store):
                removal.run()
            changed = tuple(changed_files(store, all_entries(store)))
        sync_file_system(store.v1)
        garbage = removal.result(left)
        after = None if before is None else stable_free_space(store.v1)
        if before is not None and after is not None:
            garbage = _measured(garbage, after - before)
    except OSError as error:
        raise explain_os_error(error, f"collect the garbage of {store_path}") from error
    finally:
        progress.done()
    return replace(_collection(garbage, started, (*left, *removal.stuck)), changed=changed)


@contextlib.contextmanager
def _room(store: Store) -> Iterator[None]:
    """Remove the reserve while the disk is full; make it again afterwards if it fits."""
    free = free_space(store.path)
    tight = free.size < RESERVE_SIZE or free.inodes == 0
    if tight and reserved_bytes(store):
        release_reserve(store)
    yield
    if tight:
        keep_reserve(store)


def _measured(garbage: Garbage, gained: int) -> Garbage:
    """Return the measured bytes, unless another process wrote or deleted files meanwhile.

    Then the difference from our figure is larger than metadata can explain, whose density varies by half.
    """
    loose = max(garbage.freed - garbage.solid, garbage.freed * _TOLERANCE) + _SLACK
    believable = abs(gained - garbage.freed) <= loose
    return replace(garbage, freed=gained, solid=gained) if believable else garbage


def _collection(garbage: Garbage, started: float, stuck: tuple[Stuck, ...] = ()) -> Collection:
    return Collection(
        entries_removed=garbage.entries,
        objects_removed=garbage.objects,
        bytes_freed=garbage.freed,
        bytes_estimated=garbage.freed - garbage.solid,
        roots_dropped=tuple(root.path for root in garbage.roots),
        missing=garbage.missing,
        busy=garbage.busy,
        stuck=stuck,
        later=garbage.grace and bool(garbage.entries),
        seconds=time.monotonic() - started,
    )


def _refuse_living(limits: Limits, garbage: Garbage, store: Store) -> None:
    """Raise if a path to be forgotten is not that of a missing environment."""
    for path in limits.forget:
        if any(root.path == path or root.path.startswith(f"{path}/") for root in garbage.roots):
            continue
        if find_root(store, path) is not None:
            raise UsageError(f"{path} still exists", hint=f"give it its own copies: pipm release {path}")
        raise UsageError(f"The store knows no environment {path}", hint="`pipm list` names those it knows")
