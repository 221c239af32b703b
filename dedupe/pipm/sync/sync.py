"""`pipm sync`: an environment becomes exactly what a lock says."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from typing import TYPE_CHECKING

from pipm.context.environment_lock import held
from pipm.context.workers import Pulse, interruptible
from pipm.env.receipt import read_hidden
from pipm.fs.os_errors import explained
from pipm.fs.staging import sweep
from pipm.store.entries import has_complete_entry
from pipm.store.layout import open_store
from pipm.store.roots import SYNCED, find_root
from pipm.sync.change_cache import Evidence
from pipm.sync.sync_values import Lock, Synced, SyncOptions
from pipm.sync.target_environment import find_place, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.context.progress import Progress
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.target_environment import Place


def sync(store_path: str, path: str, lock: Lock, options: SyncOptions, progress: Progress) -> Synced:
    """Make the environment at *path* exactly what *lock* says, out of the store at *store_path*.

    Raises PipmError; an environment that is not finished then is finished by the next sync.
    """
    started = time.monotonic()
    try:
        place = find_place(store_path, path, options.python)
        store = open_store(store_path)
        assert store is not None
        pulse = Pulse()
        with interruptible(pulse), _unasked(), _uncollected():
            done = _nothing_to_do(store, place, lock, options, progress)
            if done is None:
                # Reading locks, fetching and linking take modules that the usual case does without.
                from pipm.sync.full_sync import Following  # noqa: PLC0415

                done = Following(store, place, lock, options, progress, pulse).all_of_it()
    except OSError as error:
        raise explained(error, f"sync {path}") from error
    finally:
        progress.done()
    return done._replace(seconds=time.monotonic() - started)


@contextlib.contextmanager
def _unasked() -> Iterator[None]:
    """Let no interpreter that a sync runs say that the environment is stale: that is being mended."""
    before = os.environ.get("PIPM_STALE")
    os.environ["PIPM_STALE"] = "ignore"
    try:
        yield
    finally:
        del os.environ["PIPM_STALE"]
        if before is not None:
            os.environ["PIPM_STALE"] = before


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Do without the cycle collector: a plan is a hundred thousand small tuples, and no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _nothing_to_do(
    store: Store, place: Place, lock: Lock, options: SyncOptions, progress: Progress
) -> Synced | None:
    """The answer where the last sync was for this very lock, and all that it made stands; else None."""
    environment = place.environment
    previous = None if environment is None else find_root(store, environment.path)
    if environment is None or previous is None or previous.state != SYNCED:
        return None
    same = (previous.device, previous.inode) == (environment.device, environment.inode)
    if not same or not lock.promise or previous.promise != lock.promise:
        return None
    scheme, interpreter = scheme_of(environment, compiled=options.compiled)
    with held(store, environment, progress) as root:
        # Metadata folders are asked for and were put away, or the reverse (a killed run brought them back).
        if options.dist_info is not None and options.dist_info is bool(read_hidden(root)):
            return None
        evidence = Evidence(environment, root, previous, scheme)
        if not (_are_stored(store, previous) and evidence.holds()):
            from pipm.sync.full_check import is_exact  # noqa: PLC0415 - where something changed

            if not is_exact(store, environment, root, previous, scheme, interpreter, evidence):
                return None
        store.sweep()  # of a run that was killed before it changed anything
        sweep(root)
    return Synced(path=environment.path, link_mode=previous.link_mode, unchanged=len(previous.entries))


def _are_stored(store: Store, known: Root) -> bool:
    return all(has_complete_entry(store, entry) for entry in known.entries)
