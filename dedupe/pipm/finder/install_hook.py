"""Installing the finder into an environment: table, receipt, hook and the hook's bytecode."""

from __future__ import annotations

import os

from pipm.core.bytecode import header_time
from pipm.core.digest import Digest
from pipm.core.import_names import module_table
from pipm.env.interpreter import ask_interpreter
from pipm.env.receipt import FOLDER, receipt_bytes
from pipm.errors import InterpreterError
from pipm.finder.environment_state import install_finder, is_whole, write_table
from pipm.finder.import_table import SOURCES, ImportTable
from pipm.fs.beneath import directory_beneath, read_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.share_file import ensure_folder
from pipm.store.bytecode_pool import Pool
from pipm.store.entries import SITE, served_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.core.import_names import ImportLayout, Module
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.env.receipt import ServedDistribution
    from pipm.store.layout import Store

_CACHE = "__pycache__"
REPAIR_COMMAND = "pip install --force-reinstall --no-deps {name}=={version}"


def interpreter_of(environment: Environment) -> Interpreter:
    """Return the environment's interpreter; raise InterpreterError if it does not run."""
    found = ask_interpreter(environment.interpreter)
    if found is None:
        raise InterpreterError(
            f"The interpreter of {environment.path} does not run", hint="create the environment again"
        )
    return found


def install_hook(
    store: Store,
    environment: Environment,
    root: int,
    interpreter: Interpreter,
    several: Sequence[tuple[ImportLayout, ServedDistribution]],
    *,
    metadata: bool = False,
) -> ImportTable:
    """Write table, receipt, hook and path files for *several*; sync nothing; return the table.

    With *metadata* the environment has no metadata folders: the store provides them.
    """
    layouts = [one for one, _ in several]
    modules = module_table(layouts, range(len(layouts)), interpreter.extensions)
    rows = [row for _, row in several]
    return install_hook_for(store, environment, root, interpreter, rows, modules, metadata=metadata)


def install_hook_for(
    store: Store,
    environment: Environment,
    root: int,
    interpreter: Interpreter,
    rows: Sequence[ServedDistribution],
    modules: Mapping[str, Module],
    *,
    metadata: bool,
) -> ImportTable:
    """Install the hook as `install_hook` does, with a known table of import names, *modules*."""
    site = environment.site
    table = ImportTable(
        environment=environment.path,
        store=store.path,
        site=site,
        site_time=0,
        entries=[f"{row.layer}/v1/wheels/{row.entry}" if row.layer else row.entry for row in rows],
        modules=modules,
        infos=[row.metadata for row in rows],
        remedy=REPAIR_COMMAND,
        leaf=_leaf(store, rows, metadata=metadata),
    )
    install_finder(root, table, receipt_bytes(store.path, site, rows), interpreter.cache_tag)
    return table


def _leaf(store: Store, rows: Sequence[ServedDistribution], *, metadata: bool) -> str:
    """Return the folder of each entry for `sys.path`; it is SITE if an old layer has no other."""
    leaf = served_folder(store, [row.entry for row in rows if not row.layer], metadata=metadata)
    layered = [f"{row.layer}/v1/wheels/{row.entry}" for row in rows if row.layer]
    return leaf if all(os.path.isdir(f"{entry}/{leaf}") for entry in layered) else SITE


def note_site_time(
    environment: Environment, root: int, table: ImportTable, interpreter: Interpreter, *, fresh: bool = False
) -> None:
    """Write the time of site-packages into the table, after the last change there."""
    time = os.stat(f"{environment.path}/{table.site}").st_mtime_ns
    write_table(root, table._replace(site_time=time), interpreter.cache_tag, fresh=fresh)


def compile_hook(
    store: Store, environment: Environment, root: int, interpreter: Interpreter, *, fresh: bool = False
) -> None:
    """Write the hook's bytecode: compiling takes milliseconds, and some starts must not write.

    After the first time for an interpreter it comes from the store's bytecode pool. In a *fresh* environment
    the caller syncs the file system.
    """
    pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
    with directory_beneath(root, FOLDER) as folder:
        if folder is None:
            return
        ensure_folder(folder, _CACHE)
        for source in SOURCES:
            key = _key(read_beneath(folder, source))
            if pool.find(*key) is None:
                from pipm.bytecode.entry_bytecode import compile_to_pool  # noqa: PLC0415 - needed once for each store

                path = f"{environment.path}/{FOLDER}/{source}"
                if not compile_to_pool(store, path, key, interpreter, pool):
                    continue  # Python reports the error at the next start
            data = read_beneath(pool.folder, pool.name(*key))
            _put_bytecode(folder, _compiled(source, interpreter), data, fresh=fresh)


def _put_bytecode(folder: int, path: str, data: bytes | None, *, fresh: bool) -> None:
    if data is not None and read_beneath(folder, path) != data:
        with directory_beneath(folder, _CACHE) as cache:
            if cache is not None:
                durability = Durability.LATER if fresh else Durability.WHOLE
                write_durably(cache, path.rpartition("/")[2], data, durability, mode=0o666)


def is_hook_current(store: Store, root: int, interpreter: Interpreter) -> bool:
    """Return True if the environment open as *root* has the complete finder of this pipm version."""
    if not is_whole(root, interpreter.cache_tag):
        return False
    pool = Pool(folder=store.bytecode, interpreter=interpreter.pool(""))
    with directory_beneath(root, FOLDER) as folder:
        assert folder is not None
        for source in SOURCES:
            there = read_beneath(folder, _compiled(source, interpreter))
            name = pool.name(*_key(read_beneath(folder, source)))
            if there not in (None, read_beneath(pool.folder, name)):
                return False
    return True


def _key(source: bytes | None) -> tuple[Digest, int]:
    """Return the pool's key for the bytecode of *source*; the source's time is computed from its digest."""
    digest = Digest.of(source or b"")
    return digest, header_time(digest.legacy_mtime_ns)


def _compiled(source: str, interpreter: Interpreter) -> str:
    return f"{_CACHE}/{source[:-3]}.{interpreter.cache_tag}.pyc"
