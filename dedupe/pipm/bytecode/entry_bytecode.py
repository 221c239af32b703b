"""Bytecode in the store's own entries, for environments that import from them.

It is linked out of the pool; what the pool lacks is compiled by the environment's interpreter, once. An
empty file in the entry says that this was done for an interpreter.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compiler_process import CompilerProcess, CompileTask
from pipm.core.bytecode import bytecode_key, header_time
from pipm.fs.beneath import directory_beneath, open_directory_beneath
from pipm.fs.bytecode_header import finish
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
_MODE = 0o444
_BATCH = 256
"""Sources that are compiled between two looks at Ctrl-C."""


class _Source(NamedTuple):
    """A module of an entry: its folder below ``v1/``, and what the manifest says of it."""

    folder: str
    file: FileEntry

    @property
    def key(self) -> _Key:
        """What its bytecode is filed by: content, and time in the header."""
        return self.file.digest, header_time(self.file.mtime_ns)

    @property
    def stem(self) -> str:
        return self.file.path.rpartition("/")[2][:-3]


def compile_entries(
    store: Store, entries: Iterable[str], interpreter: Interpreter, shared_state: SharedState
) -> None:
    """Let each entry (below ``wheels/``) have the bytecode of *interpreter*; raises OSError."""
    pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
    lacking: dict[_Key, list[_Source]] = {}
    done = []
    for entry in entries:
        if not is_compiled(store, entry, pool.interpreter):
            shared_state.check()
            done.append(entry)
            manifest = load_manifest(store, entry)
            for source in _link_known(store, entry, manifest, pool, interpreter.cache_tag):
                lacking.setdefault(source.key, []).append(source)
    if lacking:
        with store.run() as (run, run_path):
            _compile(store, run, run_path, lacking, interpreter, pool, shared_state)
    for entry in done:
        note_compiled(store, entry, pool.interpreter)


def compile_to_pool(store: Store, path: str, key: _Key, interpreter: Interpreter, pool: Pool) -> bool:
    """Let the pool have the bytecode *key* of the one source at *path*; False where it does not compile."""
    digest, time = key
    with store.run() as (run, run_path):
        new = NewFile(run, _name(key))
        worker = CompilerProcess(interpreter)
        try:
            size = os.stat(path).st_size
            target = f"{run_path}/{new.name}"
            task = CompileTask(path, digest.hex(), path, target, time, size, 0)
            (good,) = worker.compile([task])
        finally:
            worker.close()
        if good:
            finish(run, new.name, _MODE, time)
            sync_file_system(run)
            pool.make_room(digest)
            give_name(new, pool.folder, pool.name(*key))
    return bool(good)


def _link_known(store: Store, entry: str, manifest: Manifest, pool: Pool, tag: str) -> list[_Source]:
    """Link what the pool has; returns the rest."""
    folders: dict[str, list[_Source]] = {}
    for file in manifest.files:
        if file.path.startswith("site/") and file.path.endswith(".py"):
            folder = f"wheels/{entry}/{file.path.rpartition('/')[0]}"
            folders.setdefault(folder, []).append(_Source(folder, file))
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


def _link(pool: Pool, source: _Source, cache: int, tag: str) -> bool:
    """Link the pool's bytecode into the open folder *cache*; False where the pool has none."""
    if pool.find(*source.key) is None:
        return False
    # One that is there already is the same, or Python says that it is not and compiles for itself.
    give_name(NewFile(pool.folder, pool.name(*source.key)), cache, f"{source.stem}.{tag}.pyc")
    return True


def _compile(
    store: Store,
    run: int,
    run_path: str,
    lacking: dict[_Key, list[_Source]],
    interpreter: Interpreter,
    pool: Pool,
    shared_state: SharedState,
) -> None:
    """Compile what the pool lacks, give it to the pool once it is on disk, and link it."""
    worker = CompilerProcess(interpreter)
    keys = list(lacking)
    fresh = []
    try:
        for start in range(0, len(keys), _BATCH):
            shared_state.check()
            part = keys[start : start + _BATCH]
            answers = worker.compile([_task(store, run_path, lacking[key][0]) for key in part])
            for key, good in zip(part, answers, strict=True):
                if good is None:
                    raise altered(f"{lacking[key][0].folder}/{lacking[key][0].stem}.py")
                if good:
                    fresh.append(key)
    finally:
        worker.close()
    for key in fresh:
        finish(run, _name(key), _MODE, key[1])
    sync_file_system(run)
    for key in fresh:
        pool.make_room(key[0])
        give_name(NewFile(run, _name(key)), pool.folder, pool.name(*key))
        for source in lacking[key]:
            with opened(_open_cache(store, source.folder)) as cache:
                _link(pool, source, cache, interpreter.cache_tag)


def _name(key: _Key) -> str:
    return f"pyc-{bytecode_key(*key)}"


def _task(store: Store, run_path: str, source: _Source) -> CompileTask:
    path = f"{source.folder}/{source.stem}.py"
    return CompileTask(
        source=f"{store.path}/v1/{path}",
        digest=source.file.digest.hex(),
        filename=path,
        target=f"{run_path}/{_name(source.key)}",
        mtime=source.key[1],
        size=source.file.size,
        level=0,
    )
