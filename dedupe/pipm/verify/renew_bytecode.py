"""Compiling damaged bytecode again, and all bytecode of repaired sources.

Bytecode compiled from a damaged source may be wrong, too: in the pools, in each environment that shares it,
and in environments that compiled the source themselves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.bytecode import bytecode_mtime_ns, header_time
from pipm.core.plan.verify_plan import Flaw
from pipm.fs.beneath import directory_beneath
from pipm.fs.bytecode_header import believed_bytecode
from pipm.fs.opened import opened_folder
from pipm.fs.restore_files import rename_over, set_back
from pipm.fs.share_file import forget
from pipm.fs.walk_tree import walk_entries
from pipm.store.layout import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.bytecode.verify_bytecode import PoolFile
    from pipm.core.plan.verify_plan import ExpectedFile
    from pipm.fs.share_file import NewFile
    from pipm.verify.check_store import Damage, StoreCheck
    from pipm.verify.sharing_environments import EnvironmentFile

_MODE = 0o444
_AS_IT_WAS = (Flaw.ATTRIBUTES, Flaw.INODE)
"""Flaws of an inode whose bytes were right: its bytecode is, too."""


def renew_bytecode(check: StoreCheck, lost: Iterable[Damage], run: int, run_path: str) -> None:
    """Compile damaged bytecode again, and the bytecode of sources that were repaired in *lost*."""
    files = _flawed(check)
    repaired = [damage for damage in lost if damage.repaired and damage.flaw not in _AS_IT_WAS]
    sources = {damage.stored.expected.digest for damage in repaired if damage.stored is not None}
    for file in check.pools.of_sources(sources):
        files.setdefault(file.name, file)
    made = check.pools.make_anew(files.values(), run, run_path)
    if made:
        paths = [environment.path for environment in (*check.environments, *check.others)]
        for path in (*paths, f"{check.store.path}/{VERSION}/wheels"):
            _replace(path, made, os.fstat(check.store.bytecode).st_dev)
    for damage in repaired:
        if damage.stored is not None:
            fresh = {file.inode for file in check.pools.of_sources({damage.stored.expected.digest})}
            for environment_file, _ in damage.shared:
                if environment_file.environment != damage.kept_in and environment_file.fact.name.endswith(
                    ".py"
                ):
                    _drop_private(environment_file, damage.stored.expected, fresh)


def _flawed(check: StoreCheck) -> dict[str, PoolFile]:
    """Return the bytecode to compile again, by name; restore the mode of files that are otherwise right."""
    files = {}
    for damage in check.findings.damages:
        file = damage.compiled
        if file is None:
            continue
        damage.repaired = True
        if file.flaw is Flaw.MODE:
            set_back(check.store.v1, file.name, _MODE, bytecode_mtime_ns(file.time))
        else:
            files[file.name] = file
    return files


def _replace(path: str, made: dict[int, NewFile | None], device: int) -> None:
    """Replace each file below *path* whose inode on *device* is in *made*; None there removes the file."""
    with opened_folder(path) as root:
        for folder, entry in walk_entries(path):
            if entry.inode() in made and entry.stat(follow_symlinks=False).st_dev == device:
                name, new = f"{folder}/{entry.name}", made[entry.inode()]
                if new is None:
                    forget(root, name)
                else:
                    rename_over(new, root, name)


def _drop_private(environment_file: EnvironmentFile, expected: ExpectedFile, fresh: set[int]) -> None:
    """Remove bytecode that Python would load for the repaired source, except the pool's *fresh* inodes."""
    fact = environment_file.fact
    with (
        opened_folder(environment_file.environment) as root,
        directory_beneath(root, f"{fact.directory}/__pycache__") as folder,
    ):
        if folder is None or expected.size is None or expected.mtime_ns is None:
            return
        time = header_time(expected.mtime_ns)
        for name, inode in believed_bytecode(folder, fact.name[:-3], time, expected.size):
            if inode not in fresh:
                forget(folder, name)
