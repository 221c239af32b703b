"""The context of all stages of an adoption."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.fs.link_modes import LinkMode
from pipm.fs.share_file import NewFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipm.context.workers import SharedState
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptContext:
    """An environment, a store, and the way in which they share files.

    ``root`` is the environment's open folder, ``staging`` the open folder of its temporary names, and ``run``
    (at ``run_path``) this run's private folder in the store. ``entries`` are those of an earlier run, by name
    and version; that run finished if ``trusted``, at ``seen_ns``. ``hardlinks`` is true if link(2) works
    between environment and store. ``file_system`` is the type of the environment's file system. If it is
    full, ``tight`` is true: the store gets no new files, and only files that it already has are shared.
    ``further_names`` counts by inode the further names that `make_room` gave to files.
    """

    environment: Environment
    store: Store
    root: int
    staging: int
    run: int
    run_path: str
    mode: LinkMode
    user: int
    shared_state: SharedState
    interpreter: Interpreter | None
    contested: frozenset[tuple[str, str]]
    entries: Mapping[tuple[str, str], str]
    trusted: bool
    seen_ns: int
    hardlinks: bool
    file_system: str
    compile_missing: bool
    tight: bool
    further_names: Mapping[int, int]

    def new_file(self) -> NewFile:
        """Return a new name in the run's folder, different for all workers and environments."""
        return NewFile(self.run, f"new-{os.getpid()}-{next(_NUMBERS)}")

    @property
    def by_inode(self) -> bool:
        """True if shared files have one inode."""
        return self.mode is LinkMode.HARDLINK

    @property
    def copies_on_write(self) -> bool:
        """True if a changed block gets a new place, and the whole old extent stays while a part is used."""
        return self.file_system == "btrfs"
