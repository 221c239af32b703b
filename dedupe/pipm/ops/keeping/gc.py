"""`pipm gc`: forget environments that are gone, remove what nothing needs.

Theory of operation. Under the store's lock alone, so that no writer is at work. Roots go first: an entry
that nothing names is found again by the next run, a name that leads nowhere would be a promise broken.
Entries go whole, by one rename: into the trash where an environment that reads the store's files could
still miss them, else into this run's private folder, which is removed with all that a killed run left in
it. Then objects and bytecode that no staying tree has, one unlink each.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipm.errors import UsageError
from pipm.fs.faults import explained
from pipm.fs.replace import remove_empty_folders
from pipm.fs.share import forget
from pipm.fs.space import settled_space
from pipm.fs.sync import Durability, sync_file_system
from pipm.ops.crew import Pulse, interruptible
from pipm.ops.keeping.garbage import find_garbage
from pipm.plan.gc import Fate
from pipm.store.layout import VERSION, open_store
from pipm.store.roots import drop_root, find_root, write_root
from pipm.store.trash import discard, new_batch, purge, restore, tidy

if TYPE_CHECKING:
    from pipm.ops.keeping.garbage import Garbage
    from pipm.ops.progress import Progress
    from pipm.plan.gc import Limits, RootFact
    from pipm.store.layout import Store

_TOLERANCE = 0.1
_SLACK = 64 << 10
_FOLDERS = (("wheels", 2), ("objects", 1), ("bytecode", 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What a collection did, or (dry run) would do; ``bytes_freed`` on disk, ``seconds`` of wall time.

    ``bytes_estimated`` of those freed were not measured: how tight metadata lie nobody tells before they go.

    ``later``: entries are in the trash for a while, since an environment that the store lost sight of could
    miss them. ``missing`` are environments that are not there and stay known, ``busy`` entries that stay
    because a process has them in its memory.
    """

    entries_removed: tuple[str, ...] = ()
    objects_removed: int = 0
    bytes_freed: int = 0
    bytes_estimated: int = 0
    roots_dropped: tuple[str, ...] = ()
    missing: tuple[RootFact, ...] = ()
    busy: tuple[str, ...] = ()
    later: bool = False
    seconds: float = 0.0


def collectable(store: Store, limits: Limits) -> Collection:
    """Say what a collection would do; changes nothing and takes no lock."""
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
    """Remove what nothing needs from the store at *store_path*.

    Waits for other processes' work at most *timeout* seconds, else as long as every lock is waited for.
    Raises PipmError.
    """
    started = time.monotonic()
    store = open_store(store_path, create=False)
    if store is None:
        return Collection()
    try:
        if dry_run:
            garbage = find_garbage(store, limits, time.time())
            _refuse_living(limits, garbage, store)
            return _collection(garbage, started)

        def waiting(what: str) -> None:
            progress.note(f"waiting for other processes that work on {what}")

        with store.alone(waiting, timeout), store.run() as (run, _):
            garbage = find_garbage(store, limits, time.time())
            _refuse_living(limits, garbage, store)
            before = None if garbage.exact else settled_space(store.v1)
            _carry_out(store, garbage, run, progress)
        sync_file_system(store.v1)
        after = None if before is None else settled_space(store.v1)
        if before is not None and after is not None:
            garbage = _measured(garbage, after - before)
    except OSError as error:
        raise explained(error, f"collect the garbage of {store_path}") from error
    finally:
        progress.done()
    return _collection(garbage, started)


def _measured(garbage: Garbage, gained: int) -> Garbage:
    """Take the bytes that the file system has more, unless somebody else wrote or deleted meanwhile.

    Then it is further from our figure than metadata can be, which lie packed in trees or half as tight.
    """
    loose = max(garbage.freed - garbage.solid, garbage.freed * _TOLERANCE) + _SLACK
    believable = abs(gained - garbage.freed) <= loose
    return replace(garbage, freed=gained, solid=gained) if believable else garbage


def _collection(garbage: Garbage, started: float) -> Collection:
    return Collection(
        entries_removed=garbage.entries,
        objects_removed=garbage.objects,
        bytes_freed=garbage.freed,
        bytes_estimated=garbage.freed - garbage.solid,
        roots_dropped=tuple(root.path for root in garbage.roots),
        missing=garbage.missing,
        busy=garbage.busy,
        later=garbage.grace and bool(garbage.entries),
        seconds=time.monotonic() - started,
    )


def _refuse_living(limits: Limits, garbage: Garbage, store: Store) -> None:
    """Raise when a path that shall be forgotten is no missing environment's."""
    for path in limits.forget:
        if any(root.path == path or root.path.startswith(f"{path}/") for root in garbage.roots):
            continue
        if find_root(store, path) is not None:
            raise UsageError(f"{path} is there", hint=f"give it its own copies: pipm release {path}")
        raise UsageError(f"The store knows no environment {path}", hint="`pipm list` names those it knows")


def _carry_out(store: Store, garbage: Garbage, run: int, progress: Progress) -> None:
    pulse = Pulse()
    for one in garbage.restored:
        restore(store, one)
    for root in garbage.roots:
        drop_root(store, root.path)
    for root in (*garbage.missing, *garbage.returned):
        _note_missing(store, root)
    batch = new_batch(time.time())
    with interruptible(pulse):
        due = list(garbage.due)
        for entry in garbage.entries:
            pulse.check()
            one = discard(store, entry, batch)
            if not garbage.grace:
                due.append(one)
        for number, one in enumerate(due):
            pulse.check()
            purge(store, one, run, f"gone-{number}")
        progress.phase("Removing files", len(garbage.files))
        for number, path in enumerate(garbage.files):
            pulse.check()
            forget(store.v1, path)
            progress.advance(number, 0)
    tidy(store)
    for folder, depth in _FOLDERS:
        remove_empty_folders(f"{store.path}/{VERSION}/{folder}", depth)


def _note_missing(store: Store, root: RootFact) -> None:
    """Remember since when an environment is missing, or that it is there again."""
    known = find_root(store, root.path)
    if known is None:
        return
    since = root.seen if root.fate in (Fate.GONE, Fate.REPLACED) else 0.0
    if known.missing != since:
        write_root(store, known._replace(missing=since), Durability.WHOLE)
