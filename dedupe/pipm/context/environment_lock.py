"""Checking, locking and opening an environment for an operation that changes it."""

from __future__ import annotations

import contextlib
import os
import time

from pipm.env.environment import Environment, load_environment
from pipm.errors import NotAnEnvironmentError, UsageError
from pipm.fs.flock import locked
from pipm.fs.leftovers import remove_torn_writes, sweep
from pipm.fs.opened import opened_folder
from pipm.fs.trust import user_name
from pipm.store.roots import ADOPTED, ORIGINALS, Root, root_name
from pipm.store.trash import restore_entry, trashed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.context.progress import Progress
    from pipm.store.layout import Store

_OWN_FOLDERS = (".pipm/finder", ".pipm/finder/__pycache__")
"""Folders of the environment that pipm writes only while it holds the lock."""


def checked_environment(store_path: str, path: str) -> Environment:
    """Load the environment at *path*; raise an error if this user must not change it."""
    environment = load_environment(path)
    if environment.owner != os.geteuid():
        raise NotAnEnvironmentError(
            f"{path} belongs to another user",
            hint=f"run pipm as the user who owns it: sudo -u {user_name(environment.owner)} pipm"
            f" (in a container: --user {environment.owner}); if root shared its files, they would be root's",
        )
    if f"{store_path}/".startswith(f"{environment.path}/"):
        raise UsageError(
            f"The store {store_path} lies inside the environment {path}",
            hint="choose another place with --store or PIPM_STORE",
        )
    if f"{environment.path}/".startswith(f"{store_path}/"):
        raise UsageError(f"{path} lies inside the store", hint="name an environment outside of it")
    return environment


@contextlib.contextmanager
def locked_environment(store: Store | None, environment: Environment, progress: Progress) -> Iterator[int]:
    """Hold the store's lock (if there is a store) shared and the environment's lock exclusively.

    Yields the environment's open folder.
    """
    with (
        contextlib.nullcontext() if store is None else store.writing(),
        locked(f"{environment.path}/{environment.marker}", what=environment.path, create=False),
        opened_folder(environment.path, follow=False) as root,
    ):
        if os.stat(environment.marker, dir_fd=root).st_ino != environment.inode:
            raise NotAnEnvironmentError(
                f"{environment.path} was replaced meanwhile", hint="run the same command again"
            )
        if environment.stated:
            said = f"{environment.path}/pyvenv.cfg says Python {environment.stated}"
            progress.note(
                f"{said}, its interpreter is {environment.python}: pipm uses the interpreter's version"
            )
        sweep(root)  # files of killed runs, in the environment and in the store
        remove_torn_writes(root, _OWN_FOLDERS)
        if store is not None:
            store.sweep()
            remove_torn_writes(store.v1, ("roots", ORIGINALS), of=root_name(environment.path).__eq__)
            _bring_back(store, environment, root)
        yield root


def _bring_back(store: Store, environment: Environment, root: int) -> None:
    """Restore entries from the trash that gc moved there while it could not find this environment."""
    away = trashed(store)
    if away:
        from pipm.env.installed import installed_distributions  # noqa: PLC0415 - the trash is mostly empty

        here = {
            (distribution.name, distribution.version)
            for distribution in installed_distributions(environment, root)
        }
        for one in away:
            name, version, _ = one.entry.split("/")
            if (name, version) in here:
                restore_entry(store, one)


def root_of(
    environment: Environment,
    mode: str,
    state: str,
    entries: tuple[str, ...],
    released: tuple[str, ...] = (),
) -> Root:
    """Return the root of *environment*, with the current time."""
    return Root(
        path=environment.path,
        device=environment.device,
        inode=environment.inode,
        changed=environment.changed,
        python=environment.python,
        link_mode=mode,
        state=state,
        entries=entries,
        seen=time.time(),
        released=released,
    )


def is_unchanged(root: Root, environment: Environment) -> bool:
    """Return whether *root* records a finished adoption of this same *environment*."""
    same = (root.device, root.inode, root.state) == (environment.device, environment.inode, ADOPTED)
    return same and root.changed in (0, environment.changed)
