"""Writing the finder's files into an environment, and removing all of them."""

from __future__ import annotations

import os
import re
import stat

from pipm.core.digest import Digest
from pipm.core.import_names import PATH_FILE
from pipm.env.receipt import FOLDER, RECEIPT
from pipm.errors import FileSystemError
from pipm.finder.import_table import SOURCES, START_FILE, ImportTable
from pipm.fs.beneath import directory_beneath, is_there, open_directory_beneath, read_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.folder_time import same_folder_time
from pipm.fs.leftovers import remove_torn_writes
from pipm.fs.opened import opened
from pipm.fs.removal import remove_tree
from pipm.fs.share_file import ensure_folder, forget, forget_folder, set_time

_TOP, _INDEX, _BYTECODE = ".pipm", "index", "bytecode"
_PATH_FILE = re.compile(PATH_FILE.replace(".", r"(_\d+)?\.") + "|" + re.escape(START_FILE))
_MODE = 0o666
"""The mode of the finder's files, before the umask."""


def install_finder(root: int, table: ImportTable, receipt: bytes, cache_tag: str) -> None:
    """Write hook, table, receipt and path files into the environment open as *root*; sync nothing.

    An interpreter that starts meanwhile reads either the old finder or the new one.
    """
    refuse_symlink(root)
    with same_folder_time(root, _TOP):
        ensure_folder(root, _TOP)
    for name in ("finder", _INDEX):
        ensure_folder(root, f"{_TOP}/{name}")
    sources = {name: _source(file) for name, file in SOURCES.items()}
    with opened(open_directory_beneath(root, FOLDER)) as folder:
        _write(folder, RECEIPT, receipt)
        _write(folder, table.name(cache_tag), table.to_bytes())
        for name, source in sources.items():
            if read_beneath(folder, name) != source:
                _write(folder, name, source)
                # One content has the same time in all environments, so the store's bytecode fits.
                set_time(folder, name, Digest.of(source).legacy_mtime_ns)
    with opened(open_directory_beneath(root, table.site)) as site:
        remove_torn_writes(site, ("",), of=_PATH_FILE.fullmatch)
        files = dict(table.path_files(FOLDER))
        for name in _path_files(site) - set(files):
            forget(site, name)
        for name, data in files.items():
            if read_beneath(site, name) != data:
                _write(site, name, data)


def is_whole(root: int, cache_tag: str) -> bool:
    """Return True if hook, table and path files in the environment open as *root* are unchanged."""
    with directory_beneath(root, FOLDER) as folder:
        data = None if folder is None else read_beneath(folder, ImportTable.name(cache_tag))
        table = None if data is None else ImportTable.from_bytes(data)
        if folder is None or table is None:
            return False
        if any(read_beneath(folder, name) != _source(file) for name, file in SOURCES.items()):
            return False
    with directory_beneath(root, table.site) as site:
        return site is not None and all(
            read_beneath(site, name) == data for name, data in table.path_files(FOLDER)
        )


def note_receipt(root: int, receipt: bytes, *, fresh: bool = False) -> None:
    """Write only the receipt, into an environment that has the finder; see `_write` for *fresh*."""
    with opened(open_directory_beneath(root, FOLDER)) as folder:
        _write(folder, RECEIPT, receipt, fresh=fresh)


def _source(name: str) -> bytes:
    with open(os.path.join(os.path.dirname(__file__), "runtime", name), "rb") as stream:
        return stream.read()


def write_table(root: int, table: ImportTable, cache_tag: str, *, fresh: bool = False) -> None:
    """Write only the table, whose time of site-packages is now right; see `_write` for *fresh*."""
    with opened(open_directory_beneath(root, FOLDER)) as folder:
        _write(folder, table.name(cache_tag), table.to_bytes(), fresh=fresh)
        for name in os.listdir(folder):
            if name.endswith(".table") and name != table.name(cache_tag):
                forget(folder, name)  # the table of an earlier hook or interpreter


def uninstall_finder(root: int, site: str) -> None:
    """Remove the finder from the environment open as *root*; the files that start it are removed first."""
    with directory_beneath(root, site) as folder:
        if folder is not None:
            for name in sorted(_path_files(folder), key=lambda name: (name != START_FILE, len(name))):
                forget(folder, name)
    with directory_beneath(root, _TOP) as top:
        if top is None:
            return
        for name in (_INDEX, _BYTECODE):
            with directory_beneath(top, name) as folder:
                found = folder is not None
            if found:
                remove_tree(top, name)
    with directory_beneath(root, FOLDER) as folder:
        if folder is not None:
            # The receipt is removed last: after a kill the next run needs it.
            for name in sorted(os.listdir(folder), key=lambda name: name == RECEIPT):
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    remove_tree(folder, name)
                else:
                    forget(folder, name)
    sweep_empty(root)


def sweep_empty(root: int) -> None:
    """Remove pipm's folders from the environment open as *root* if a killed run left them empty."""
    with directory_beneath(root, _TOP) as top, same_folder_time(root, _TOP):
        if top is not None:
            forget_folder(top, os.path.basename(FOLDER))
            forget_folder(root, _TOP)


def refuse_symlink(root: int) -> None:
    """Raise FileSystemError if pipm's folder in the environment open as *root* is a symlink or a file."""
    try:
        status = os.stat(_TOP, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise FileSystemError(
            f"{_TOP} in the environment is not a folder",
            hint="move it away: pipm needs a folder of that name",
        )


def _path_files(site: int) -> set[str]:
    """Return the names of pipm's path files (``000_pipm.pth``, ``000_pipm_1.pth``, ...) and start file."""
    return {name for name in os.listdir(site) if _PATH_FILE.fullmatch(name)}


def _write(folder: int, name: str, data: bytes, *, fresh: bool = False) -> None:
    """Write a file of the finder; after a power cut an existing file is old or new, and complete.

    A *fresh* environment waits for no disk: its root tells the next sync to write the file again.
    """
    durability = Durability.LATER if fresh or not is_there(folder, name) else Durability.WHOLE
    write_durably(folder, name, data, durability, mode=_MODE)
