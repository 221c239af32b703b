"""Bytecode in the store's own entries, for environments that import from them.

It is linked from the pool; the environment's interpreter compiles the missing part. An empty file in the
entry marks the interpreters for which this was done.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compile_sources import SourceFile, compile_in_processes, compile_sources
from pipm.bytecode.compiler_process import CompilerProcess
from pipm.core.bytecode import bytecode_key, header_time
from pipm.fs.beneath import directory_beneath, open_directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.opened import opened
from pipm.fs.share_file import NewFile, ensure_folder, give_name
from pipm.store.bytecode_pool import Pool, is_compiled, note_compiled
from pipm.store.entries import load_manifest
from pipm.store.objects import altered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.context.workers import SharedState
    from pipm.core.digest import Digest
    from pipm.core.manifest import FileEntry, Manifest
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_Key = tuple["Digest", int]
_CACHE = "__pycache__"


class _EntryModule(NamedTuple):
    """A module of an entry: its folder below ``v1/``, and its row in the manifest."""

    folder: str
    file: FileEntry

    @property
    def key(self) -> _Key:
        """The key of its bytecode: the content, and the time in the header."""
        return self.file.digest, header_time(self.file.mtime_ns)

    @property
    def stem(self) -> str:
        return self.file.path.rpartition("/")[2][:-3]

    def compiled_from(self, store: Store) -> SourceFile:
        """Return the source for `compile_sources`."""
        path = f"{self.folder}/{self.stem}.py"
        return SourceFile(f"{store.path}/v1/{path}", self.file.digest, self.file.size, self.key[1], path)


def compile_entries(
    store: Store, entries: Iterable[str], interpreter: Interpreter, shared_state: SharedState
) -> bool:
    """Add the bytecode of *interpreter* to each entry (below ``wheels/``); raise OSError.

    Returns False if the disk did not take some of it: the next call for these entries adds it.
    """
    pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
    lacking: dict[_Key, list[_EntryModule]] = {}
    done = []
    for entry in entries:
        if not is_compiled(store, entry, pool.interpreter):
            shared_state.check()
            done.append(entry)
            manifest = load_manifest(store, entry)
            for source in _link_known(store, entry, manifest, pool, interpreter.cache_tag):
                lacking.setdefault(source.key, []).append(source)
    refused: set[str] = set()
    if lacking:
        with store.run() as (run, run_path):
            refused = _compile(store, (run, run_path), lacking, interpreter, pool, shared_state)
    for entry in done:
        if not any(folder.startswith(f"wheels/{entry}/") for folder in refused):
            note_compiled(store, entry, pool.interpreter)
    return not refused


def compile_to_pool(store: Store, path: str, key: _Key, interpreter: Interpreter, pool: Pool) -> bool:
    """Compile the source at *path* into the pool under *key*; return False if it does not compile."""
    digest, time = key
    with store.run() as (run, run_path), closing(CompilerProcess(interpreter)) as worker:
        source = SourceFile(path, digest, os.stat(path).st_size, time, path)
        made = compile_sources([worker], {_name(key): source}, (run, run_path)).made
        for new in made.values():
            sync_file_system(run)
            pool.make_room(digest)
            give_name(new, pool.folder, pool.name(*key))
    return bool(made)


def _link_known(store: Store, entry: str, manifest: Manifest, pool: Pool, tag: str) -> list[_EntryModule]:
    """Link the bytecode that the pool has; return the sources without bytecode in the pool."""
    folders: dict[str, list[_EntryModule]] = {}
    for file in manifest.files:
        if file.path.startswith("site/") and file.path.endswith(".py"):
            folder = f"wheels/{entry}/{file.path.rpartition('/')[0]}"
            folders.setdefault(folder, []).append(_EntryModule(folder, file))
    lacking = []
    for folder, sources in folders.items():
        with opened(_open_cache(store, folder)) as cache:
            lacking += [source for source in sources if not _link(pool, source, cache, tag)]
    return lacking


def _open_cache(store: Store, folder: str) -> int:
    with directory_beneath(store.v1, folder) as parent:
        if parent is None:
            raise FileNotFoundError(folder)
        ensure_folder(parent, _CACHE, 0o755)
        return open_directory_beneath(parent, _CACHE)


def _link(pool: Pool, source: _EntryModule, cache: int, tag: str) -> bool:
    """Link the pool's bytecode into the open folder *cache*; return False if the pool has none."""
    if pool.find(*source.key) is None:
        return False
    # An existing file stays: it is the same, or Python sees that it is stale and compiles the source.
    give_name(NewFile(pool.folder, pool.name(*source.key)), cache, f"{source.stem}.{tag}.pyc")
    return True


def _compile(
    store: Store,
    run: tuple[int, str],
    lacking: dict[_Key, list[_EntryModule]],
    interpreter: Interpreter,
    pool: Pool,
    shared_state: SharedState,
) -> set[str]:
    """Compile missing bytecode, sync it, and link it into the pool and the entries.

    Returns the folders of sources whose bytecode the disk did not take.
    """
    sources = {_name(key): of[0].compiled_from(store) for key, of in lacking.items()}
    compiled = compile_in_processes(interpreter, sources, run, lambda _: shared_state.check())
    for name in compiled.changed:
        raise altered(sources[name].filename)
    sync_file_system(run[0])
    for key, places in lacking.items():
        if _name(key) not in compiled.made:
            continue
        pool.make_room(key[0])
        give_name(compiled.made[_name(key)], pool.folder, pool.name(*key))
        for source in places:
            with opened(_open_cache(store, source.folder)) as cache:
                _link(pool, source, cache, interpreter.cache_tag)
    failed = {*compiled.failed}
    return {source.folder for key, places in lacking.items() if _name(key) in failed for source in places}


def _name(key: _Key) -> str:
    return f"pyc-{bytecode_key(*key)}"
