"""Compiling bytecode after a sync, in a separate process.

A root records that bytecode is pending when it records that its environment is synced. One process compiles
for a store: another that finds the lock held ends, because the holder looks for further roots after it
released the lock. The next sync starts a process that finishes the work of a killed one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pipm.errors import PipmError
from pipm.fs.flock import try_lock
from pipm.fs.folder_stack import FOLDER
from pipm.fs.opened import opened
from pipm.store.layout import open_store
from pipm.store.roots import SYNCED, all_roots

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from pipm.store.layout import Store
    from pipm.store.roots import Root

_NICE = 10
"""Not 19: while this process links into the environment a sync waits for it, also on a busy machine."""


def start_compiling(store_path: str) -> subprocess.Popen[bytes] | None:
    """Start a process that compiles pending bytecode, and that outlives this one.

    Returns None if no process can be started: the next sync tries again.
    """
    import subprocess  # noqa: PLC0415 - needed only if bytecode is pending

    command = [sys.executable, "-P", "-m", __name__, store_path]
    null = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            command, stdin=null, stdout=null, stderr=null, cwd="/", start_new_session=True
        )
    except OSError:
        return None


def compile_pending(store: Store) -> None:
    """Compile pending bytecode of all environments of *store*, unless another process does.

    After an error the bytecode of an environment stays pending.
    """
    from pipm.sync.pending_bytecode import PendingBytecode  # noqa: PLC0415 - what starts it does without

    tried: set[Root] = set()
    while roots := [root for root in _pending(store) if root not in tried]:
        with _only_one(store) as is_ours:
            if not is_ours:
                return
            for root in roots:
                tried.add(root)
                with contextlib.suppress(PipmError, OSError):
                    PendingBytecode(store, root).compile()


@contextlib.contextmanager
def _only_one(store: Store) -> Iterator[bool]:
    with opened(os.open(".", FOLDER, dir_fd=store.bytecode)) as folder:
        yield try_lock(folder)


def _pending(store: Store) -> list[Root]:
    return [root for root in all_roots(store) if root.pending and root.state == SYNCED]


def main() -> None:
    """Compile pending bytecode of the store on the command line."""
    os.nice(_NICE)
    store = open_store(sys.argv[1], create=False)
    if store is not None:
        compile_pending(store)


if __name__ == "__main__":
    main()
