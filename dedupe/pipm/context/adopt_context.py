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
    """One environment, one store, and how they share files.

    ``root`` is the environment's open folder, ``staging`` that of its temporary names, ``run`` (at
    ``run_path``) this run's private folder in the store. ``entries`` are those of an earlier run, by name
    and version; ``trusted``: it finished, at ``seen_ns``. ``hardlinks``: link(2) works between the two.
    ``file_system`` is the type of the environment's, ``tight``: it is full, so the store gets nothing new,
    and only files that it has are shared. ``twins`` counts by inode the further names that files got when
    `make_room` made space for the run.
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
    twins: Mapping[int, int]

    def new_file(self) -> NewFile:
        """Return a name in the run's folder that no worker and no environment of the run uses."""
        return NewFile(self.run, f"new-{os.getpid()}-{next(_NUMBERS)}")

    @property
    def by_inode(self) -> bool:
        """Whether sharing a file means sharing its inode."""
        return self.mode is LinkMode.HARDLINK

    @property
    def copies_on_write(self) -> bool:
        """Whether a changed block gets a new place; the old extent stays while any part of it is used."""
        return self.file_system == "btrfs"
