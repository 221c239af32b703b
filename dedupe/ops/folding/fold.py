"""`pipm adopt --link-mode finder`: modules are imported from the store and leave the environment.

Theory of operation. An adoption by symlinks comes first: it proves each file equal, lets the store have it
durably, and writes the root. Then the table and the hook are put into the environment and synced, and
last the symlinks are removed. Between any two of these steps every import finds its module: while a
symlink is there, it comes before the table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dedupe.core.digest import Digest
from dedupe.core.modules import module_table
from dedupe.env.folded import FOLDER, Folded, read_receipt, receipt_bytes, record_digest
from dedupe.env.interpreter import ask_interpreter
from dedupe.errors import InterpreterError
from dedupe.finder.inject import inject, settle
from dedupe.finder.table import SOURCES, Table
from dedupe.fs.beneath import directory_beneath, open_beneath, read_beneath
from dedupe.fs.bytecode import finish
from dedupe.fs.share import NewFile, ensure_folder, give_name
from dedupe.fs.sync import Durability, sync_file_system, write_durably
from dedupe.ops.crew import Pulse, interruptible
from dedupe.ops.folding.entry_bytecode import compile_entries
from dedupe.ops.folding.folding import plan_removal, remove
from dedupe.ops.folding.hiding import bring_back, hide
from dedupe.ops.folding.members import apart, members
from dedupe.ops.folding.metadata import make_real
from dedupe.ops.folding.restoring import restore
from dedupe.ops.holding import root_of
from dedupe.ops.sharing.prepare import entries_by_release
from dedupe.store.bytecode import Pool
from dedupe.store.roots import ADOPTED, find_root, write_root
from dedupe.store.wheels import LIBRARY, SITE, name_as_library
from dedupe.wheel.bytecode import BytecodeWorker, Compilation

if TYPE_CHECKING:
    from dedupe.core.modules import Outline
    from dedupe.env.environment import Environment
    from dedupe.env.interpreter import Interpreter
    from dedupe.finder.table import LockRow
    from dedupe.ops.folding.folding import Removal
    from dedupe.ops.folding.members import Member
    from dedupe.store.layout import Store

_BYTECODE_MODE = 0o444
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What the finder is to serve in one environment: its members, with what goes of each from the disk."""

    several: list[tuple[Member, Folded]]
    removals: list[tuple[Member, Removal]]


def fold(store: Store, environment: Environment, root: int, *, dist_info: bool | None = None) -> int:
    """Let the finder serve what it can; the environment is open as *root* and locked.

    *dist_info* says whether metadata folders stay; None leaves that as it is. Returns how many names were
    removed.
    """
    pulse = Pulse()
    interpreter = interpreter_of(environment)
    site = site_of(environment)
    with interruptible(pulse):
        were_hidden = bring_back(store, root)
        served = _served(store, environment, root, interpreter)
        manifests = [(one.entry, one.manifest) for one, _ in served.several if one.manifest is not None]
        compile_entries(store, manifests, interpreter, pulse)
        pulse.check()
        _register(store, environment, [entry for entry, _ in manifests])
        table = put(
            store, environment, root, interpreter, [(one.outline, row) for one, row in served.several]
        )
        compile_hook(store, environment, root, interpreter)
        make_real(root, site, [one.distribution.metadata for one, _ in served.removals])
        sync_file_system(store.v1)
        sync_file_system(root)
        count = sum(remove(root, site, one, removal) for one, removal in served.removals)
        settle_time(environment, root, table, interpreter)
        sync_file_system(root)
        if dist_info is False or (dist_info is None and were_hidden):
            hide(store, environment, root, table, interpreter)
    return count


def _served(store: Store, environment: Environment, root: int, interpreter: Interpreter) -> Served:
    site = site_of(environment)
    known = find_root(store, environment.path)
    entries = entries_by_release(() if known is None else known.entries)
    receipt = read_receipt(root)
    several = members(store, environment, root, site, receipt, entries)
    together = apart(store, root, site, [one.shape for one in several])
    chosen, removals = [], []
    for number, one in enumerate(several):
        if one.manifest is None:
            continue
        if number in together:
            if one.folded is not None:  # something that came since must lie together with it
                restore(store, root, site, one, one.folded, interpreter)
            continue
        removal = plan_removal(store, root, site, one, interpreter)
        if removal is None:
            continue
        chosen.append((one, _folded(one, removal)))
        removals.append((one, removal))
    return Served(several=chosen, removals=removals)


def _folded(one: Member, removal: Removal) -> Folded:
    """What the receipt is to say of a member."""
    if one.folded is not None:
        bytecode = tuple(sorted({*one.folded.bytecode, *removal.bytecode}))
        return one.folded._replace(bytecode=bytecode)
    return Folded(
        metadata=one.distribution.metadata,
        entry=one.entry,
        record=record_digest(one.distribution.record),
        bytecode=tuple(sorted(removal.bytecode)),
        dropped=tuple(removal.dropped),
    )


def _register(store: Store, environment: Environment, entries: list[str]) -> None:
    """The root is durable before the first file goes."""
    known = find_root(store, environment.path)
    used = set(entries) | set(() if known is None else known.entries)
    root = root_of(environment, "finder", ADOPTED, tuple(sorted(used)))
    write_root(store, root if known is None else replace(root, lock=known.lock))


def put(
    store: Store,
    environment: Environment,
    root: int,
    interpreter: Interpreter,
    several: list[tuple[Outline, Folded]],
    lock: LockRow = (),
) -> Table:
    """Write table, receipt, hook and path files for *several*; nothing is synced. Returns the table.

    *lock* is the table's word on the lock file that the environment follows.
    """
    site = site_of(environment)
    named = all(name_as_library(store, folded.entry) for _, folded in several)
    outlines = [one for one, _ in several]
    table = Table(
        environment=environment.path,
        store=store.path,
        site=site,
        site_time=0,
        entries=[folded.entry for _, folded in several],
        modules=module_table(outlines, range(len(outlines)), interpreter.extensions),
        infos=[folded.metadata for _, folded in several],
        mend=MEND,
        lock=lock,
        leaf=LIBRARY if named else SITE,
    )
    receipt = receipt_bytes(store.path, site, (folded for _, folded in several))
    inject(root, table, receipt, interpreter.cache_tag)
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
        with store.run() as (run, run_path):
            new = NewFile(run, f"pyc-{digest.hex()}")
            worker = BytecodeWorker(interpreter)
            try:
                task = Compilation(source, source, f"{run_path}/{new.name}", digest.mtime, len(text), 0)
                (good,) = worker.compile([task])
            finally:
                worker.close()
            if not good:
                return None  # Python says at the next start what is wrong
            finish(run, new.name, _BYTECODE_MODE, digest.mtime)
            sync_file_system(run)
            pool.make_room(digest)
            give_name(new, pool.folder, pool.name(digest))
    with open(open_beneath(pool.folder, pool.name(digest), os.O_RDONLY), "rb") as stream:
        return stream.read()
