"""`pipm run --env` syncs an environment first if its lock changed."""

from __future__ import annotations

import os

from pipm.env.permission import check_found
from pipm.errors import LockError
from pipm.run.stale_lock import changed_lock

TYPE_CHECKING = False  # typing's takes its import

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.cli.output import Output


def sync_if_lock_changed(talk: Callable[[], Output], store: str, path: str) -> None:
    """Sync the environment at the real *path* if its lock changed since the last sync.

    With PIPM_STALE=ignore do nothing; with ``error`` raise PipmError.
    """
    request = os.environ.get("PIPM_STALE")
    changed = None if request == "ignore" else changed_lock(store, path)
    if changed is None:
        return
    from pipm.cli.sync_output import resync  # noqa: PLC0415 - few runs come here

    lock, words = changed
    check_found(lock)
    if request == "error":
        raise LockError(
            f"{lock} changed since {path} was made from it",
            hint=f"pipm sync {lock} --env {path}; with PIPM_STALE=warn pipm run does that",
        )
    resync(talk(), store, path, lock, words)
