"""The bytecode of a synced environment: links to the pool; missing bytecode is compiled into the pool."""

from __future__ import annotations

import os

from pipm.bytecode.compile_sources import SourceFile, compile_in_processes
from pipm.core.bytecode import key_path, parse_bytecode_key
from pipm.core.named_tuple import NamedTuple
from pipm.fs.beneath import is_there, open_directory_beneath
from pipm.fs.durability import Durability, sync_file_system, write_durably
from pipm.fs.folder_stack import FOLDER, make_folder, state_of
from pipm.fs.opened import opened
from pipm.fs.share_file import NewFile, ensure_folder, give_name
from pipm.store.bytecode_pool import Pool
from pipm.store.objects import altered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping

    from pipm.context.sync_context import SyncContext
    from pipm.core.plan.materialise_plan import PlannedFolder
    from pipm.env.interpreter import Interpreter
    from pipm.fs.folder_filler import FolderFiller
    from pipm.fs.folder_stack import FolderState
    from pipm.store.layout import Store

_CACHE = "__pycache__"
NONE = "-none"
"""The end of the name of an empty file in the pool; it means that the source does not compile."""
_DIGITS = 64
"""The digits of the sha256 at the beginning of a bytecode's name."""
SOON = 256
"""Up to this many sources are compiled during the sync, in less than a second; more are compiled later."""


class MissingBytecode(NamedTuple):
    """A module whose bytecode the pool lacks: its folder in the environment, and that of its source."""

    folder: str
    stem: str
    source: str


class SyncBytecode:
    """Links or compiles the bytecode of modules, unless the context has no interpreter.

    Without a *filler* it only compiles. Bytecode has the name that it has in the pool. ``missing`` has the
    modules without bytecode there. ``uncompiled`` are those whose source does not compile (templates, tests
    of syntax errors); for ``delayed`` the disk did not take the bytecode. ``left`` is the state of each
    folder of bytecode after the work.
    """

    def __init__(self, context: SyncContext, filler: FolderFiller | None = None) -> None:
        self._context = context
        self._filler = filler
        self.missing: dict[str, list[MissingBytecode]] = {}
        self.uncompiled: set[str] = set()
        self.delayed: set[str] = set()
        self.left: FolderState = {}
        self._folder = -1
        self._path = ""
        if context.interpreter is not None:
            name = context.interpreter.pool("")
            ensure_folder(context.store.bytecode, name, 0o700)
            self._pool = Pool(folder=context.store.bytecode, interpreter=name)
            self._folder = os.open(name, FOLDER, dir_fd=context.store.bytecode)
            self._path = f"{context.store.path}/v1/bytecode/{name}"

    def close(self) -> None:
        """Close the pool."""
        if self._folder >= 0:
            os.close(self._folder)

    def link(self, folder: PlannedFolder, target: int) -> None:
        """Link the pool's bytecode for *folder*, open as *target*; add missing bytecode to ``missing``."""
        if self._context.interpreter is None or self._filler is None:
            return
        tag = self._context.interpreter.cache_tag
        with opened(make_folder(target, _CACHE)) as cache:
            wanted = [
                (f"{key[:2]}/{key[2:]}", f"{stem}.{tag}.pyc")
                for _, rows in folder.sources
                for stem, key in rows
            ]
            missing = self._filler.link_bytecode(self._folder, self._path, wanted, cache)
            self.left[f"{folder.path}/{_CACHE}"] = state_of(cache)
        if missing:
            self._note_missing(folder, {name[: -len(f".{tag}.pyc")] for name in missing})

    def _note_missing(self, folder: PlannedFolder, stems: Container[str]) -> None:
        for source, rows in folder.sources:
            for stem, key in rows:
                if stem in stems:
                    self.missing.setdefault(key, []).append(MissingBytecode(folder.path, stem, source))

    def take(self, missing: Mapping[str, list[MissingBytecode]]) -> None:
        """Add the missing modules of another process."""
        for key, several in missing.items():
            self.missing.setdefault(key, []).extend(several)

    def finish(self) -> None:
        """Compile the missing bytecode, and link it into the pool and the environment."""
        late: dict[str, list[tuple[str, str]]] = {}
        for key in self.fill_pool():
            for folder, stem, _ in self.missing[key]:
                late.setdefault(folder, []).append((key, stem))
        for folder, rows in late.items():
            self._link_late(folder, rows)

    def fill_pool(self) -> Collection[str]:
        """Compile missing bytecode into the pool; return its names there."""
        interpreter = self._context.interpreter
        if interpreter is None or not self.missing:
            return ()
        self.note_uncompilable()
        fresh = self._compile(interpreter, [key for key in self.missing if key not in self.uncompiled])
        if fresh:
            sync_file_system(self._context.run)  # the pool must get only files whose bytes are on disk
        for key, new in fresh.items():
            self._pool.make_room(parse_bytecode_key(key)[0])
            give_name(new, self._folder, key_path(key))
        return fresh

    def note_uncompilable(self) -> None:
        """Add to ``uncompiled`` the sources of which an earlier sync recorded that they do not compile."""
        store, pool = self._context.store, self._pool.interpreter
        self.uncompiled |= {key for key in self.missing if is_uncompilable(store, pool, key)}

    def _link_late(self, folder: str, rows: list[tuple[str, str]]) -> None:
        assert self._context.interpreter is not None
        assert self._filler is not None
        tag = self._context.interpreter.cache_tag
        path = f"{folder}/{_CACHE}" if folder else _CACHE
        with opened(open_directory_beneath(self._context.root, path)) as target:
            wanted = [(key_path(key), f"{stem}.{tag}.pyc") for key, stem in rows]
            self._filler.link_bytecode(self._folder, self._path, wanted, target)
            self.left[path] = state_of(target)

    def _compile(self, interpreter: Interpreter, keys: list[str]) -> dict[str, NewFile]:
        """Compile the sources of this bytecode; return the new files by key."""
        context = self._context
        context.progress.phase("Compiling", len(keys))

        def advance(count: int) -> None:
            context.shared_state.check()
            context.progress.advance(count, 0)

        sources = {f"pyc-{key}": self._source(key) for key in keys}
        run = (context.run, context.run_path)
        compiled = compile_in_processes(interpreter, sources, run, advance)
        for name in compiled.changed:
            raise altered(sources[name].path.removeprefix(f"{context.store.path}/v1/"))
        self.delayed |= {name.removeprefix("pyc-") for name in compiled.failed}
        self.uncompiled |= {key for key in keys if f"pyc-{key}" not in compiled.made} - self.delayed
        for name in compiled.hopeless:
            self._note_hopeless(name.removeprefix("pyc-"))
        return {name.removeprefix("pyc-"): new for name, new in compiled.made.items()}

    def _source(self, key: str) -> SourceFile:
        folder, stem, source = self.missing[key][0]
        return stored_source(self._context.store, key, f"{source}/{stem}.py", f"{folder}/{stem}.py")

    def _note_hopeless(self, key: str) -> None:
        self._pool.make_room(parse_bytecode_key(key)[0])
        with opened(open_directory_beneath(self._folder, key[:2])) as room:
            write_durably(room, f"{key[2:_DIGITS]}{NONE}", b"", Durability.LATER)


def stored_source(store: Store, key: str, path: str, filename: str) -> SourceFile:
    """Return the source of the bytecode *key*: the file at *path* below ``v1/``, *filename* in tracebacks."""
    path = f"{store.path}/v1/{path}"
    digest, time = parse_bytecode_key(key)
    return SourceFile(path, digest, os.stat(path).st_size, time, filename)


def is_uncompilable(store: Store, pool: str, key: str) -> bool:
    """Return whether an earlier sync recorded that the source of the bytecode *key* does not compile."""
    return is_there(store.bytecode, f"{pool}/{key_path(key[:_DIGITS])}{NONE}")
