"""Putting the finder into an environment: table, receipt, hook and the hook's bytecode."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from dedupe.core.digest import Digest
from dedupe.core.modules import module_table
from dedupe.env.folded import FOLDER, receipt_bytes
from dedupe.env.interpreter import ask_interpreter
from dedupe.errors import InterpreterError
from dedupe.finder.inject import inject, settle
from dedupe.finder.table import SOURCES, Table
from dedupe.fs.beneath import directory_beneath, open_beneath, read_beneath
from dedupe.fs.share import ensure_folder
from dedupe.fs.sync import Durability, write_durably
from dedupe.store.bytecode import Pool
from dedupe.store.wheels import LIBRARY, SITE, name_as_library

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupe.core.modules import Module, Outline
    from dedupe.env.environment import Environment
    from dedupe.env.folded import Folded
    from dedupe.env.interpreter import Interpreter
    from dedupe.finder.table import LockRow
    from dedupe.store.layout import Store

MEND = "pip install --force-reinstall --no-deps {name}=={version}"


def site_of(environment: Environment) -> str:
    """The site-packages that the environment's interpreter uses, relative to the environment."""
    release = ".".join(environment.python.split(".")[:2])
    for site in environment.sites:
        if f"/python{release}/" in site or f"/pypy{release}/" in site:
            return site
    return environment.sites[0]


def interpreter_of(environment: Environment) -> Interpreter:
    """The environment's interpreter, which the table is made for."""
    found = ask_interpreter(environment.interpreter)
    if found is None:
        raise InterpreterError(
            f"{environment.path} has no interpreter that runs", hint="make the environment anew"
        )
    return found


def put(
    store: Store,
    environment: Environment,
    root: int,
    interpreter: Interpreter,
    several: Sequence[tuple[Outline, Folded]],
    lock: LockRow = (),
) -> Table:
    """Write table, receipt, hook and path files for *several*; nothing is synced. Returns the table.

    *lock* is the table's word on the lock file that the environment follows.
    """
    outlines = [one for one, _ in several]
    modules = module_table(outlines, range(len(outlines)), interpreter.extensions)
    return put_table(store, environment, root, interpreter, [row for _, row in several], modules, lock)


def put_table(
    store: Store,
    environment: Environment,
    root: int,
    interpreter: Interpreter,
    rows: Sequence[Folded],
    modules: Mapping[str, Module],
    lock: LockRow,
) -> Table:
    """The same where it is known what each import name is."""
    site = site_of(environment)
    named = all(name_as_library(store, row.entry) for row in rows)
    table = Table(
        environment=environment.path,
        store=store.path,
        site=site,
        site_time=0,
        entries=[row.entry for row in rows],
        modules=modules,
        infos=[row.metadata for row in rows],
        mend=MEND,
        lock=lock,
        leaf=LIBRARY if named else SITE,
    )
    inject(root, table, receipt_bytes(store.path, site, rows), interpreter.cache_tag)
    return table


def settle_time(environment: Environment, root: int, table: Table, interpreter: Interpreter) -> None:
    """Note the time that site-packages has now that nothing more changes in it."""
    time = os.stat(f"{environment.path}/{table.site}").st_mtime_ns
    settle(root, replace(table, site_time=time), interpreter.cache_tag)


def compile_hook(store: Store, environment: Environment, root: int, interpreter: Interpreter) -> None:
    """Give the hook its bytecode: not every start may write it, and compiling it costs milliseconds.

    The store's pool has it after the first time, as it has that of any source.
    """
    for source in SOURCES:
        data = _hook_bytecode(store, f"{environment.path}/{FOLDER}/{source}", interpreter)
        with directory_beneath(root, FOLDER) as folder:
            if folder is not None and data is not None:
                ensure_folder(folder, "__pycache__")
                name = f"__pycache__/{source[:-3]}.{interpreter.cache_tag}.pyc"
                if read_beneath(folder, name) != data:
                    with directory_beneath(folder, "__pycache__") as cache:
                        if cache is not None:
                            write_durably(cache, name[12:], data, Durability.LATER, mode=0o666)


def _hook_bytecode(store: Store, source: str, interpreter: Interpreter) -> bytes | None:
    with open(source, "rb") as stream:
        text = stream.read()
    digest = Digest.of(text)
    pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
    if pool.find(digest) is None:
        from dedupe.ops.folding.entry_bytecode import compile_source  # noqa: PLC0415 - once a store

        if not compile_source(store, source, digest, interpreter, pool):
            return None  # Python says at the next start what is wrong
    with open(open_beneath(pool.folder, pool.name(digest), os.O_RDONLY), "rb") as stream:
        return stream.read()
