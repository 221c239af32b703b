"""Installing, updating and removing the wrapper of pip, and sharing what a wrapped pip installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.reasons import Reason
from pipm.env.environment import load_environment
from pipm.errors import FullDiskError
from pipm.fs.os_errors import explain_os_error
from pipm.fs.link_modes import LinkMode
from pipm.context.workers import SharedState, interruptible
from pipm.adopt.choose_mode import adopt_by_finder
from pipm.context.environment_lock import checked_environment
from pipm.context.progress import Progress
from pipm.adopt.adopt import adopt
from pipm.share.adoption import AdoptOptions
from pipm.pip_wrapper.install_wrapper import install_wrapper, is_wrapped, uninstall_wrapper
from pipm.store.layout import open_store
from pipm.store.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.share.adoption import Adoption


def wrap_pip(store_path: str, path: str, link_mode: str, *, wanted: bool | None) -> bool:
    """Wrap the pip of the environment at *path* if *wanted*, unwrap it if not, or only update it (None).

    Returns whether it is wrapped now. Raises PipmError.
    """
    environment = load_environment(path)
    try:
        if wanted or (wanted is None and is_wrapped(environment)):
            # pip writes single files; when pip ends, the finder serves these modules.
            by_file = LinkMode.SYMLINK.value if link_mode == LinkMode.FINDER.value else link_mode
            install_wrapper(environment, store_path, by_file)
            return True
        if wanted is False:
            uninstall_wrapper(environment)
    except OSError as error:
        raise explain_os_error(error, f"change the pip of {path}") from error
    return False


def share_after_pip(store_path: str, path: str | None, wheels: Iterable[tuple[str, str]]) -> None:
    """Share the files that pip wrote into the environment at *path*, and index *wheels*: (path, file name).

    In this order no file is copied: the environment's files become objects, then the archives are assigned to
    entries. Raises PipmError, also if the store's disk has no room for some of the files.
    """
    from pipm.share.add_wheels import join_wheel_files  # noqa: PLC0415 - nothing else here unpacks wheels

    shared_state = SharedState()
    with interruptible(shared_state):  # a signal must not end it while its temporary folder exists
        left = () if path is None else _adopt_anew(store_path, path).left
        join_wheel_files(store_path, wheels, shared_state)
    if any(file.reason is Reason.NO_ROOM for file in left):
        raise FullDiskError(
            f"No space left for the store {store_path}", hint=f"free some space there, then pipm adopt {path}"
        )


def _adopt_anew(store_path: str, path: str) -> Adoption:
    """Adopt the environment at *path* with its earlier options."""
    environment = checked_environment(store_path, path)
    store = open_store(store_path)
    assert store is not None
    root = find_root(store, environment.path)
    known = {mode.value: mode for mode in LinkMode}
    options = AdoptOptions(link_mode=None if root is None else known.get(root.link_mode))
    if options.link_mode is LinkMode.FINDER:
        return adopt_by_finder(store_path, path, options, Progress())
    return adopt(store_path, path, options, Progress())
