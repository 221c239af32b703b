"""Adding pending bytecode to an environment: compile it into the store, then link it.

Compiling holds the store's lock for one batch at a time, and no lock of an environment. Linking holds the
environment's lock, reads its root again, and skips modules that differ from the store's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.bytecode.entry_bytecode import compile_entries
from pipm.bytecode.sync_bytecode import MissingBytecode, SyncBytecode, is_uncompilable
from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.context.progress import Progress
from pipm.context.sync_context import SyncContext
from pipm.context.workers import SharedState, interruptible
from pipm.core.bytecode import key_path
from pipm.core.plan.materialise_plan import PlannedFolder, Wanted, at_hand, plan_materialisation
from pipm.env.receipt import read_receipt
from pipm.errors import NotAnEnvironmentError
from pipm.fs.beneath import directory_beneath, is_there, read_beneath
from pipm.fs.durability import Durability, sync_file_system, write_durably
from pipm.fs.folder_filler import FolderFiller
from pipm.fs.folder_stack import FOLDER
from pipm.fs.link_modes import LinkMode, can_hardlink
from pipm.fs.opened import opened
from pipm.fs.staging import Staging, staging
from pipm.store.roots import SYNCED, find_root, write_root
from pipm.sync.change_cache import ChangeCache
from pipm.sync.full_check import passes_full_check
from pipm.sync.installer_files import compiled_rows
from pipm.sync.target_environment import scheme_of
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping

    from pipm.core.plan.materialise_plan import MaterialisePlan
    from pipm.store.layout import Store
    from pipm.store.roots import Root

_BATCH = 256
"""Sources compiled in one batch, while the store's lock is held: gc waits for less than a second."""
_ENTRIES = 8
"""Entries in one batch, likewise."""


class PendingBytecode:
    """The pending bytecode of the environment of *root*."""

    def __init__(self, store: Store, root: Root) -> None:
        self._store, self._root = store, root
        self._environment = checked_environment(store.path, root.path)
        if (self._environment.device, self._environment.inode) != (root.device, root.inode):
            raise NotAnEnvironmentError(f"{root.path} was replaced by another environment", hint="pipm sync")
        self._scheme, self._interpreter = scheme_of(self._environment, compiled=True)
        self._pool = "" if self._interpreter is None else self._interpreter.pool("")
        self._state = SharedState()

    def compile(self) -> None:
        """Compile, link, and record in the root that nothing is pending; raise PipmError and OSError."""
        with interruptible(self._state):
            served, complete = self._served(), True
            for first in range(0, len(served), _ENTRIES):
                complete &= self._compile_served(served[first : first + _ENTRIES])
            missing = self._missing(self._plan(self._root, served))
            keys = list(missing)
            for first in range(0, len(keys), _BATCH):
                self._compile_sources({key: missing[key] for key in keys[first : first + _BATCH]})
            with locked_environment(self._store, self._environment, Progress()) as folder:
                self._finish(folder, served, complete=complete)

    def _served(self) -> list[str]:
        """Return the served entries: their bytecode is only in the store."""
        with opened(os.open(self._environment.path, FOLDER)) as folder:
            receipt = read_receipt(folder)
        return [] if receipt is None else sorted(row.entry for row in receipt.served.values())

    def _compile_served(self, entries: list[str]) -> bool:
        if self._interpreter is None:
            return True
        with self._store.writing():
            return compile_entries(self._store, entries, self._interpreter, self._state)

    def _plan(self, root: Root, served: Container[str]) -> MaterialisePlan:
        """Return the plan of all files that are linked into the environment."""
        wanted = [
            Wanted(entry=entry, load=at_hand(load_install_plan(self._store, entry)))
            for entry in root.entries
            if entry not in served
        ]
        return plan_materialisation(wanted, self._scheme)

    def _missing(self, plan: MaterialisePlan) -> dict[str, list[MissingBytecode]]:
        """Return the modules of *plan* without bytecode in the pool, by its name there."""
        missing: dict[str, list[MissingBytecode]] = {}
        for folder in plan.folders:
            for source, rows in folder.sources:
                for stem, key in rows:
                    if not is_there(self._store.bytecode, f"{self._pool}/{key_path(key)}"):
                        missing.setdefault(key, []).append(MissingBytecode(folder.path, stem, source))
        return {key: rows for key, rows in missing.items() if not self._is_uncompilable(key)}

    def _is_uncompilable(self, key: str) -> bool:
        return is_uncompilable(self._store, self._pool, key)

    def _compile_sources(self, missing: dict[str, list[MissingBytecode]]) -> None:
        self._state.check()
        with self._store.writing(), self._store.run() as (run, run_path):
            compiler = SyncBytecode(self._context(run, run_path, LinkMode.COPY))
            try:
                compiler.take(missing)
                compiler.fill_pool()
            finally:
                compiler.close()

    def _context(
        self, run: int, run_path: str, mode: LinkMode, root: int = -1, staging: int = -1
    ) -> SyncContext:
        return SyncContext(
            store=self._store,
            root=root,
            path=self._environment.path,
            run=run,
            run_path=run_path,
            scheme=self._scheme,
            interpreter=self._interpreter,
            mode=mode,
            staging=staging,
            no_dist_info=False,
            later=False,
            shared_state=self._state,
            progress=Progress(),
        )

    def _finish(self, root: int, served: Container[str], *, complete: bool) -> None:
        """Link the pool's bytecode, unless the environment changed since; *root* is its open folder.

        It stays pending if the bytecode of the *served* entries is not *complete*.
        """
        known = find_root(self._store, self._environment.path)
        if known is None or known.state != SYNCED or not known.pending:
            return
        plan = self._plan(known, served)
        with self._store.run() as (run, run_path), staging(root) as folder:
            finder = known.link_mode == LinkMode.FINDER.value
            mode = _mode_beside_finder(run, run_path, folder) if finder else LinkMode(known.link_mode)
            area = Staging(folder, "late")
            compiler = SyncBytecode(
                self._context(run, run_path, mode, root, folder), FolderFiller(mode, area)
            )
            try:
                for planned in plan.folders:
                    _link(compiler, root, planned)
            finally:
                compiler.close()
                area.close()
        uncompilable = {key for key in compiler.missing if self._is_uncompilable(key)}
        if not complete or uncompilable != compiler.missing.keys():
            return  # another sync changed the environment, or the disk or the interpreter failed
        for one, _ in plan.metadata_folders:
            self._correct_record(root, one, uncompilable)
        sync_file_system(root)
        done = known._replace(pending=False)
        write_root(self._store, done)
        # So that the next sync needs no full check.
        cache = ChangeCache(self._environment, root, done, self._scheme)
        passes_full_check(self._store, self._environment, root, done, self._scheme, self._interpreter, cache)

    def _correct_record(self, root: int, one: Wanted, uncompilable: Collection[str]) -> None:
        """Remove the rows for bytecode of sources that cannot be compiled from RECORD."""
        rows = compiled_rows(self._scheme, one.install_plan, ()).splitlines(keepends=True)
        kept = set(compiled_rows(self._scheme, one.install_plan, uncompilable).splitlines(keepends=True))
        wrong = {row for row in rows if row not in kept}
        if not wrong:
            return
        with directory_beneath(root, f"{self._scheme.site}/{one.install_plan.metadata}") as folder:
            record = None if folder is None else read_beneath(folder, "RECORD")
            if folder is not None and record is not None:
                lines = record.splitlines(keepends=True)
                right = b"".join(line for line in lines if line not in wrong)
                if right != record:
                    write_durably(folder, "RECORD", right, Durability.WHOLE, mode=0o666)


def _mode_beside_finder(run: int, run_path: str, folder: int) -> LinkMode:
    return LinkMode.HARDLINK if can_hardlink(run, run_path, folder) else LinkMode.SYMLINK


def _link(compiler: SyncBytecode, root: int, folder: PlannedFolder) -> None:
    """Link the bytecode of modules in *folder* that are equal to the store's."""
    times = {name: time for name, time, _ in folder.empty}
    for part in folder.links:
        times |= zip(part.names, part.times, strict=True)
    with directory_beneath(root, folder.path or ".") as target:
        if target is None:
            return
        sources = []
        for source, rows in folder.sources:
            own = tuple(row for row in rows if _has_time(target, f"{row[0]}.py", times))
            sources += [(source, own)] if own else []
        if sources:  # a folder of data gets no __pycache__, which programs would read as data
            compiler.link(PlannedFolder(folder.path, sources=sources), target)


def _has_time(directory: int, name: str, times: Mapping[str, int]) -> bool:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns == times.get(name)
    except FileNotFoundError:
        return False
