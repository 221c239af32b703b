"""`pipm uninstall`: give environments their own copies, then remove all that pipm has of this user.

The program itself stays; its installer can remove it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.context.liveness import root_facts
from pipm.core.plan.gc_plan import Fate
from pipm.fs.beneath import read_file
from pipm.fs.durability import replace_text
from pipm.fs.home import cache_home, config_home
from pipm.fs.removal import remove_empty, remove_folder_at, remove_path
from pipm.fs.walk_tree import inodes_below
from pipm.store.inventory import store_inventory
from pipm.store.layout import OWN_NAMES, open_store
from pipm.store.paths import named_environments_folder, run_cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.fs.removal import Stuck

_COMPLETIONS = ("~/.bash_completions/pipm.sh", "~/.zfunc/_pipm", "~/.config/fish/completions/pipm.fish")
"""The files that ``pipm --install-completion`` writes to."""
_MARK = b"_PIPM_COMPLETE"
_BASH_START = "~/.bashrc"


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """Everything of pipm that this user has: environments to release, folders and files to remove.

    ``away`` are environments that cannot be reached now, ``needing`` those of them that read the files of the
    store and would be broken without it. ``kept`` stays, since nothing can make it again.
    """

    environments: tuple[str, ...]
    away: tuple[str, ...]
    needing: tuple[str, ...]
    paths: tuple[str, ...]
    kept: tuple[str, ...]


def find_leftovers(store_path: str) -> Leftovers:
    """List what `pipm uninstall` removes and releases; reads only."""
    store = open_store(store_path, create=False)
    facts = [] if store is None else root_facts(store)
    folders = (run_cache_folder(), named_environments_folder())
    mine = [fact for fact in facts if not fact.path.startswith(tuple(f"{folder}/" for folder in folders))]
    away = [fact for fact in mine if fact.fate is Fate.UNREACHABLE]
    settings = f"{config_home()}/pipm"
    kept = [path for path in (f"{settings}/signing.key",) if os.path.exists(path)]
    removed = [*folders, *_completions(), *([] if kept else [settings])]
    return Leftovers(
        environments=tuple(fact.path for fact in mine if fact.fate is Fate.ALIVE),
        away=tuple(fact.path for fact in away),
        needing=tuple(fact.path for fact in away if fact.borrows),
        paths=tuple(path for path in removed if os.path.lexists(path)),
        kept=tuple(kept),
    )


def _completions() -> Iterator[str]:
    for name in _COMPLETIONS:
        path = os.path.expanduser(name)
        if _MARK in (read_file(path) or b""):
            yield path


def remove_leftovers(found: Leftovers) -> list[Stuck]:
    """Remove all but the store; return what could not be removed."""
    stuck: list[Stuck] = []
    for path in found.paths:
        if path.endswith(".sh"):
            _forget_line(os.path.expanduser(_BASH_START), f"source '{path}'")
        stuck += remove_folder_at(path) if os.path.isdir(path) else remove_path(path)
        if path.endswith(".sh"):
            remove_empty(os.path.dirname(path))
    return stuck


def _forget_line(path: str, line: str) -> None:
    """Remove *line* from the file at *path*, as typer added it: after a line feed of its own."""
    real = os.path.realpath(path)
    before, added, after = (read_file(real) or b"").partition(f"\n{line}\n".encode())
    if added:
        ended = not after or not before or before.endswith(b"\n")
        replace_text(real, before + (b"" if ended else b"\n") + after)


def remove_store(store_path: str) -> list[Stuck]:
    """Remove the store with its lock, once no other process writes; a folder with other things stays."""
    store = open_store(store_path, create=False)
    if store is None:
        return []
    stuck: list[Stuck] = []
    with store.alone():
        for name in OWN_NAMES:
            path = f"{store_path}/{name}"
            if os.path.isdir(path):
                stuck += remove_folder_at(path)
            elif os.path.lexists(path):
                stuck += remove_path(path)
    remove_empty(store_path)
    return stuck


def bytes_of_store(store_path: str) -> int:
    """Return the bytes that the store takes on the disk."""
    store = open_store(store_path, create=False)
    return 0 if store is None else store_inventory(store).listed.usage.on_disk


def uv_cache_inodes() -> frozenset[int]:
    """Return the inodes of uv's cache: environments that uv made share them with it by hard links."""
    cache = os.environ.get("UV_CACHE_DIR") or f"{cache_home()}/uv"
    return frozenset(inodes_below(cache))


def removal_command() -> str:
    """Return the command that removes the program itself, as it was installed."""
    if "/uv/tools/" in f"{sys.prefix}/":
        return "uv tool uninstall venv-dedupe"
    if "/pipx/" in f"{sys.prefix}/":
        return "pipx uninstall venv-dedupe"
    return f"{sys.executable} -m pip uninstall venv-dedupe"
