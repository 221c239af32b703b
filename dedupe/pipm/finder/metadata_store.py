"""Environments without metadata folders (``--no-dist-info``): only the finder lists their distributions.

Theory of operation. The store has the metadata files of the wheel. Files that the installer wrote beside them
(RECORD and others) are saved in one file, `STORED_METADATA`; then the folders are removed. The finder
provides both to `importlib.metadata`. A command that changes such an environment restores the folders first
and removes them again at its end. Folders are added and removed as a whole. After a kill some distributions
have a folder, and all are in the file; readers accept both. A sync does not create the folders: at its end it
writes the file and the table.
"""

from __future__ import annotations

import os
import stat

from pipm.core.distribution_names import without_metadata_folder
from pipm.core.install_plan import KEPT_METADATA
from pipm.env.receipt import (
    FOLDER,
    STORED_METADATA,
    StoredMetadataFile,
    read_receipt,
    read_stored_metadata,
    stored_metadata_bytes,
)
from pipm.finder.environment_state import write_table
from pipm.fs.beneath import directory_beneath, is_there, read_beneath
from pipm.fs.durability import Durability, sync_file_system, write_durably
from pipm.fs.share_file import NewFile, ensure_folder, forget, forget_folder, write_new_file
from pipm.fs.staging import move_folder, staging
from pipm.store.layers import home_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.finder.import_table import ImportTable
    from pipm.store.layout import Store


def store_metadata(
    store: Store, environment: Environment, root: int, table: ImportTable, interpreter: Interpreter
) -> None:
    """Save and remove the metadata folders of distributions in *table*, in the environment open as *root*."""
    away: dict[str, dict[str, StoredMetadataFile]] = {}
    for entry, info in zip(table.entries, table.infos, strict=True):
        with directory_beneath(root, f"{table.site}/{info}") as folder:
            found = None if folder is None else _contents(store, entry, info, folder)
            if found is not None:
                away[info] = found
    if not away:
        return
    note_stored_metadata(root, away)
    without = table._replace(no_dist_info=True)
    write_table(root, without, interpreter.cache_tag)
    sync_file_system(root)
    with staging(root) as aside, directory_beneath(root, table.site) as site:
        for info, files in away.items():
            if site is not None:
                _take_away(site, info, files, aside)
    time = os.stat(f"{environment.path}/{table.site}").st_mtime_ns
    write_table(root, without._replace(site_time=time), interpreter.cache_tag)
    sync_file_system(root)


def note_stored_metadata(root: int, away: Mapping[str, Mapping[str, StoredMetadataFile]]) -> None:
    """Write `STORED_METADATA` with the files of the folders *away* into the environment open as *root*."""
    with directory_beneath(root, FOLDER) as folder:
        assert folder is not None
        write_durably(folder, STORED_METADATA, stored_metadata_bytes(away), Durability.LATER, mode=0o666)


def _take_away(site: int, info: str, files: Iterable[str], aside: int) -> None:
    """Remove a metadata folder with the known *files*; for readers it disappears in one step."""
    move_folder(site, info, aside)
    with directory_beneath(aside, info) as folder:
        assert folder is not None
        for name in files:
            forget(folder, name)
    if not forget_folder(aside, info):  # another program added a file meanwhile
        move_folder(aside, info, site)


def _contents(store: Store, entry: str, info: str, folder: int) -> dict[str, StoredMetadataFile] | None:
    """Return the files of a metadata folder; None if one is edited or not a regular file."""
    found: dict[str, StoredMetadataFile] = {}
    for name in os.listdir(folder):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        data = read_beneath(folder, name) if stat.S_ISREG(status.st_mode) else None
        if data is None:
            return None
        if name in KEPT_METADATA:
            if data != _stored(store, entry, info, name):
                return None  # edited
            found[name] = StoredMetadataFile(0o644, None)
        else:
            found[name] = StoredMetadataFile(stat.S_IMODE(status.st_mode), data)
    return found


def _stored(store: Store, entry: str, info: str, name: str) -> bytes | None:
    return read_beneath(home_of(store, entry).v1, f"wheels/{entry}/site/{info}/{name}")


def restore_metadata(store: Store, root: int) -> bool:
    """Create the removed metadata folders again; return False if there were none."""
    receipt = read_receipt(root)
    away = read_stored_metadata(root)
    if receipt is None or not away:
        return False
    with staging(root) as aside, directory_beneath(root, receipt.site) as site:
        assert site is not None
        wanted = without_metadata_folder(away, os.listdir(site))
        for info, files in away.items():
            served = receipt.served.get(info)
            if served is not None and info in wanted:
                _fill_folder(store, aside, served.entry, info, files)
                move_folder(aside, info, site)
            elif served is not None and is_there(site, info) and not is_there(site, f"{info}/RECORD"):
                _fill_folder(store, site, served.entry, info, files)  # a part was deleted
    sync_file_system(root)
    with directory_beneath(root, FOLDER) as folder:
        if folder is not None:
            forget(folder, STORED_METADATA)
    return True


def stored_metadata_entries(root: int) -> frozenset[str]:
    """Return the entries without a metadata folder in the environment open as *root*."""
    receipt = read_receipt(root)
    away = read_stored_metadata(root)
    if receipt is None:
        return frozenset()
    return frozenset(receipt.served[info].entry for info in away if info in receipt.served)


def _fill_folder(
    store: Store, parent: int, entry: str, info: str, files: dict[str, StoredMetadataFile]
) -> None:
    ensure_folder(parent, info)
    with directory_beneath(parent, info) as folder:
        assert folder is not None
        # RECORD comes last: its presence means that the folder is complete.
        for name, file in sorted(files.items(), key=lambda row: row[0] == "RECORD"):
            data = file.data
            if data is None:
                data = _stored(store, entry, info, name)
            if data is not None and not is_there(folder, name):
                write_new_file(NewFile(folder, name), [data], file.mode)
