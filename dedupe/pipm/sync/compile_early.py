"""Compiling modules while other wheels are downloaded, for a sync that waits for bytecode."""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compile_sources import compile_sources
from pipm.bytecode.compiler_process import CompilerProcess
from pipm.bytecode.sync_bytecode import is_uncompilable, stored_source
from pipm.core.bytecode import key_path, parse_bytecode_key
from pipm.errors import PipmError
from pipm.fs.beneath import is_there
from pipm.fs.share_file import ensure_folder, give_name
from pipm.store.bytecode_pool import Pool
from pipm.wheel.stored_install_plans import load_install_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.bytecode.compile_sources import SourceFile
    from pipm.context.workers import ItemPipe, SharedState
    from pipm.env.interpreter import Interpreter
    from pipm.fs.background_sync import BackgroundSync
    from pipm.fs.share_file import NewFile
    from pipm.store.layout import Store

_NICE = 10
"""Unpacking is more urgent: what is not compiled early is compiled after linking."""
_TICK = 100
"""Milliseconds."""


class _Unsynced(NamedTuple):
    """New bytecode files by key, which get their names after the sync with that number."""

    sync: int
    made: dict[str, NewFile]


class EarlyCompiler:
    """A worker that compiles the modules of stored entries into the pool of *interpreter*.

    Other processes `tell` it the entries, and `end` the pipe when they have no more. What fails here, or does
    not fit into the pipe, is left to the sync itself. *run* is the open folder of the run, and its path. The
    pipe *inherited* of other workers is closed for writing: they wait for its end.
    """

    def __init__(
        self,
        store: Store,
        run: tuple[int, str],
        interpreter: Interpreter,
        syncs: BackgroundSync,
        shared_state: SharedState,
        inherited: ItemPipe,
    ) -> None:
        self._store, self._run, self._interpreter = store, run, interpreter
        self._syncs, self._shared_state, self._inherited = syncs, shared_state, inherited
        self._pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def tell(self, entry: str) -> None:
        """Say that the store has *entry*."""
        with contextlib.suppress(OSError):
            os.write(self._writer, f"{entry}\n".encode())

    def end(self) -> None:
        """Close the end for writing; each process does this."""
        os.close(self._writer)

    def close(self) -> None:
        """Do nothing: the process ends."""

    def run(self, _stage: None) -> None:
        """Compile what comes until nothing comes any more."""
        os.nice(_NICE)
        self.end()
        self._inherited.end()
        ensure_folder(self._store.bytecode, self._pool.interpreter, 0o700)
        processes = [CompilerProcess(self._interpreter) for _ in os.sched_getaffinity(0)]
        unsynced: list[_Unsynced] = []
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, PipmError):
            for process in processes:
                stack.callback(process.close)
            for number, entries in enumerate(self._told()):
                if entries:
                    made = self._compile(entries, f"early-{number}-", processes)
                    unsynced.append(_Unsynced(self._syncs.next(), made))
                while unsynced and self._syncs.is_done(unsynced[0].sync):
                    self._publish(unsynced.pop(0).made)
            for one in unsynced:
                self._syncs.wait(one.sync)
                self._publish(one.made)

    def _compile(
        self, entries: list[str], prefix: str, processes: list[CompilerProcess]
    ) -> dict[str, NewFile]:
        """Compile the modules of *entries*; the names of new files begin with *prefix*."""
        lacking = dict(source for entry in entries for source in self._lacking(entry))
        named = {f"{prefix}{key}": source for key, source in lacking.items()}
        compiled = compile_sources(processes, named, self._run, lambda _: self._shared_state.check())
        return {name.removeprefix(prefix): new for name, new in compiled.made.items()}

    def _told(self) -> Iterator[list[str]]:
        """Yield the entries that came meanwhile, together, so that all processors have work; often none."""
        some = select.poll()
        some.register(self._reader, select.POLLIN)
        rest = b""
        while True:
            self._shared_state.check()
            if not some.poll(_TICK):
                yield []
                continue
            data = os.read(self._reader, 1 << 16)
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                yield [line.decode() for line in lines]
            if not data:
                return

    def _lacking(self, entry: str) -> Iterator[tuple[str, SourceFile]]:
        """Yield key and source of each module of *entry* without bytecode in the pool."""
        store, pool = self._store, self._pool.interpreter
        for folder in load_install_plan(store, entry).folders:
            path = f"wheels/{entry}/site/{folder.path}" if folder.path else f"wheels/{entry}/site"
            for stem, key in folder.sources:
                if is_there(store.bytecode, f"{pool}/{key_path(key)}") or is_uncompilable(store, pool, key):
                    continue
                source = f"{path}/{stem}.py"
                yield key, stored_source(store, key, source, source)

    def _publish(self, made: dict[str, NewFile]) -> None:
        """Give synced bytecode its names in the pool."""
        for key, new in made.items():
            digest, time = parse_bytecode_key(key)
            self._pool.make_room(digest)
            give_name(new, self._pool.folder, self._pool.name(digest, time))
