"""Metadata folders put away: the finder alone tells of the distributions then (``--no-dist-info``).

Theory of operation. The store has what a wheel says of itself; what an installer wrote beside it (RECORD
and its kin) goes into one file, `HIDDEN_FILE`, and then the folders go. The finder gives `importlib.metadata`
both. Whatever changes such an environment lets the folders come back first and puts them away again at its
end. A run that is killed between leaves folders and file beside each other, which is read like either.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from dedupe.core.blueprint import KEPT_METADATA
from dedupe.env.folded import FOLDER, HIDDEN_FILE, PutAway, hidden_bytes, read_hidden, read_receipt
from dedupe.env.installed import without_folder
from dedupe.finder.inject import settle
from dedupe.fs.beneath import directory_beneath, is_there, read_beneath
from dedupe.fs.share import NewFile, ensure_folder, forget, forget_folder, write_new_file
from dedupe.fs.sync import Durability, sync_file_system, write_durably

if TYPE_CHECKING:
    from dedupe.env.environment import Environment
    from dedupe.env.interpreter import Interpreter
    from dedupe.finder.table import Table
    from dedupe.store.layout import Store


def hide(store: Store, environment: Environment, root: int, table: Table, interpreter: Interpreter) -> None:
    """Put away the metadata folders of what *table* serves in the environment open as *root*."""
    away: dict[str, dict[str, PutAway]] = {}
    for entry, info in zip(table.entries, table.infos, strict=True):
        with directory_beneath(root, f"{table.site}/{info}") as folder:
            found = None if folder is None else _contents(store, entry, info, folder)
            if found is not None:
                away[info] = found
    if not away:
        return
    with directory_beneath(root, FOLDER) as folder:
        assert folder is not None
        write_durably(folder, HIDDEN_FILE, hidden_bytes(away), Durability.LATER, mode=0o666)
    hidden = table._replace(hidden=True)
    settle(root, hidden, interpreter.cache_tag)
    sync_file_system(root)
    for info, files in away.items():
        with directory_beneath(root, f"{table.site}/{info}") as folder:
            if folder is not None:
                for name in sorted(files, key=lambda name: name != "RECORD"):  # where it is, all is there
                    forget(folder, name)
        with directory_beneath(root, table.site) as site:
            if site is not None:
                forget_folder(site, info)
    time = os.stat(f"{environment.path}/{table.site}").st_mtime_ns
    settle(root, hidden._replace(site_time=time), interpreter.cache_tag)
    sync_file_system(root)


def _contents(store: Store, entry: str, info: str, folder: int) -> dict[str, PutAway] | None:
    """What a metadata folder has; None where neither the store nor one file can keep all of it."""
    found: dict[str, PutAway] = {}
    for name in os.listdir(folder):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        data = read_beneath(folder, name) if stat.S_ISREG(status.st_mode) else None
        if data is None:
            return None
        if name in KEPT_METADATA:
            if data != read_beneath(store.v1, f"wheels/{entry}/site/{info}/{name}"):
                return None  # somebody edited it
            found[name] = PutAway(0o644, None)
        else:
            found[name] = PutAway(stat.S_IMODE(status.st_mode), data)
    return found


def bring_back(store: Store, root: int) -> bool:
    """Let the metadata folders that were put away lie in the environment again; False where none were."""
    receipt = read_receipt(root)
    away = read_hidden(root)
    if receipt is None or not away:
        return False
    with directory_beneath(root, receipt.site) as site:
        assert site is not None
        wanted = without_folder(away, os.listdir(site))
        for info in away:
            folded = receipt.folded.get(info)
            half_gone = is_there(site, info) and not is_there(site, f"{info}/RECORD")
            if folded is not None and (info in wanted or half_gone):
                _write_folder(store, site, folded.entry, info, away[info])
    sync_file_system(root)
    with directory_beneath(root, FOLDER) as folder:
        if folder is not None:
            forget(folder, HIDDEN_FILE)
    return True


def hidden_entries(root: int) -> frozenset[str]:
    """The entries whose metadata folders were put away in the environment open as *root*."""
    receipt = read_receipt(root)
    away = read_hidden(root)
    if receipt is None:
        return frozenset()
    return frozenset(receipt.folded[info].entry for info in away if info in receipt.folded)


def _write_folder(store: Store, site: int, entry: str, info: str, files: dict[str, PutAway]) -> None:
    ensure_folder(site, info)
    with directory_beneath(site, info) as folder:
        assert folder is not None
        for name in sorted(files, key=lambda name: name == "RECORD"):
            data = files[name].data
            if data is None:
                data = read_beneath(store.v1, f"wheels/{entry}/site/{info}/{name}")
            if data is not None and not is_there(folder, name):
                write_new_file(NewFile(folder, name), [data], files[name].mode)
