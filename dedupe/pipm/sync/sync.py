"""`pipm sync`: make an environment contain exactly the distributions in a lock."""

from __future__ import annotations

import contextlib
import gc
import os
import time

from pipm.context.environment_lock import locked_environment
from pipm.env.receipt import read_stored_metadata
from pipm.finder.finder_usage import missing_store
from pipm.fs.os_errors import explain_os_error
from pipm.store.entries import has_complete_entry
from pipm.store.layers import open_layers
from pipm.store.layout import open_store
from pipm.store.roots import SYNCED, find_root
from pipm.sync.change_cache import ChangeCache
from pipm.sync.known_projects import is_current
from pipm.sync.sync_values import Lock, SyncOptions, SyncResult
from pipm.sync.target_environment import find_target, scheme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.context.progress import Progress
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.target_environment import TargetEnvironment


def sync(store_path: str, path: str, lock: Lock, options: SyncOptions, progress: Progress) -> SyncResult:
    """Make the environment at *path* contain exactly the distributions in *lock*, from the store.

    Raises PipmError; the next sync then finishes the environment.
    """
    started = time.monotonic()
    try:
        destination = find_target(store_path, path, options.python)
        store = open_store(store_path)
        assert store is not None
        with _unasked(), _uncollected():
            done = _nothing_to_do(store, destination, lock, options, progress)
            if done is None:
                # Most syncs have nothing to do, and need none of the modules for a full sync.
                from pipm.context.workers import SharedState, interruptible  # noqa: PLC0415
                from pipm.sync.full_sync import FullSync  # noqa: PLC0415

                shared_state = SharedState()
                with interruptible(shared_state):
                    done = FullSync(store, destination, lock, options, progress, shared_state).run_all()
    except OSError as error:
        raise explain_os_error(error, f"sync {path}") from error
    finally:
        progress.done()
    return done._replace(seconds=time.monotonic() - started)


@contextlib.contextmanager
def _unasked() -> Iterator[None]:
    """Keep interpreters that a sync runs from printing that the lock changed."""
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
    """Disable the cycle collector: a plan has a hundred thousand small tuples and no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _nothing_to_do(
    store: Store, destination: TargetEnvironment, lock: Lock, options: SyncOptions, progress: Progress
) -> SyncResult | None:
    """Return the result if the last sync was for the same lock and all its files are unchanged; else None."""
    environment = destination.environment
    previous = None if environment is None else find_root(store, environment.path)
    if environment is None or previous is None or previous.state != SYNCED:
        return None
    same = (previous.device, previous.inode) == (environment.device, environment.inode)
    if not same or not is_current(previous.fingerprint, lock.fingerprint):
        return None
    if previous.pending and not options.compiled_later:
        return None
    scheme, interpreter = scheme_of(environment, compiled=options.compiled)
    if previous.pending:
        scheme = scheme.without_bytecode()
    with locked_environment(store, environment, progress) as root:
        # The request about metadata folders differs from their state (a killed run may have restored them).
        wrong = options.dist_info is not None and options.dist_info is bool(read_stored_metadata(root))
        if wrong or not _are_stored(store, previous) or missing_store(environment.path, ()):
            return None
        change_cache = ChangeCache(environment, root, previous, scheme)
        if not change_cache.holds():
            from pipm.sync.full_check import passes_full_check  # noqa: PLC0415 - needed only after a change

            if not passes_full_check(store, environment, root, previous, scheme, interpreter, change_cache):
                return None
    return SyncResult(
        path=environment.path,
        link_mode=previous.link_mode,
        unchanged=len(previous.entries),
        pending=previous.pending,
    )


def _are_stored(store: Store, known: Root) -> bool:
    homes = (store, *open_layers(store.path))
    return all(any(has_complete_entry(home, entry) for home in homes) for entry in known.entries)
