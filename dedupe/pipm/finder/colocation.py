"""Finding distributions that need real files in one site-packages directory: the finder cannot serve them."""

from __future__ import annotations

import os

from pipm.core.import_names import PATH_FILE, ImportLayout, inseparable, library_ties, names_relative_folders
from pipm.core.install_plan import OUTDATED
from pipm.core.named_tuple import NamedTuple
from pipm.fs.beneath import open_beneath
from pipm.store.layers import home_of
from pipm.wheel.elf_run_paths import run_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.store.layout import Store

SITE = "site/"
"""The prefix of a manifest's paths in site-packages."""


class StoredLayout(NamedTuple):
    """A distribution's import layout, and its entry below ``wheels/`` ("" if the store has none)."""

    layout: ImportLayout
    entry: str


def needs_real_files(
    store: Store, root: int, site: str, stored_layouts: list[StoredLayout]
) -> frozenset[int]:
    """Return the indexes of the distributions that must have real files in site-packages."""
    layouts = [one.layout for one in stored_layouts]
    ties = {}
    for number, one in enumerate(stored_layouts):
        if one.layout.binaries:
            binaries = one.layout.binaries
            found = {path: run for path in binaries if (run := _run_paths(store, root, site, one, path))}
            if found:
                ties[number] = found
    special = {number for number, one in enumerate(stored_layouts) if _acts_beside_its_files(store, one)}
    return inseparable(layouts) | library_ties(layouts, ties) | special


def _run_paths(store: Store, root: int, site: str, one: StoredLayout, path: str) -> list[str]:
    """Return the directories where the binary *path* looks for libraries (RPATH, RUNPATH)."""
    try:
        if one.entry:
            home = home_of(store, one.entry)
            file = open_beneath(home.v1, f"wheels/{one.entry}/{SITE}{path}", os.O_RDONLY)
        else:
            file = open_beneath(root, f"{site}/{path}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    with open(file, "rb") as stream:
        return run_paths(stream)


def _acts_beside_its_files(store: Store, one: StoredLayout) -> bool:
    """Return True if a path file of the distribution needs its modules beside it, or runs before pipm's."""
    for name in one.layout.path_files if one.entry else ():
        if name.endswith(OUTDATED):
            continue
        text = path_file_text(store, one.entry, name)
        if name < PATH_FILE or (name.endswith(".pth") and names_relative_folders(text)):
            return True
    return False


def path_file_text(store: Store, entry: str, name: str) -> str:
    """Return the text of a path file of the entry."""
    file = open_beneath(home_of(store, entry).v1, f"wheels/{entry}/{SITE}{name}", os.O_RDONLY)
    with open(file, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()
