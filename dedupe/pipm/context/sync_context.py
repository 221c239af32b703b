"""The context of a sync: a locked environment, a store, and the link mode."""

from __future__ import annotations

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.scheme import Scheme
    from pipm.env.interpreter import Interpreter
    from pipm.fs.link_modes import LinkMode
    from pipm.store.layout import Store


class SyncContext(NamedTuple):
    """``root`` is the environment's open folder at ``path``, ``run`` this run's private folder in the store.

    ``interpreter`` is None if the environment gets no bytecode. ``mode`` is the link mode of its files;
    ``staging`` is the open folder of its temporary names. With ``no_dist_info`` served distributions get no
    metadata folders. With ``later`` missing bytecode of many modules is compiled after the sync.
    """

    store: Store
    root: int
    path: str
    run: int
    run_path: str
    scheme: Scheme
    interpreter: Interpreter | None
    mode: LinkMode
    staging: int
    no_dist_info: bool
    later: bool
    shared_state: SharedState
    progress: Progress
