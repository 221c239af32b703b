"""The pool of compiled sources: ``bytecode/<tag>-<magic>/ab/cdef…``, named by the source's content and time.

The store has one time for each content, so the ``.pyc`` of a source is the same for every distribution,
version and environment. A patch release shares the bytecode of unchanged modules. The import system corrects
``co_filename`` (``_imp._fix_co_filename``).
"""

from __future__ import annotations

import os

from pipm.core.bytecode import bytecode_key, bytecode_mtime_ns, key_path
from pipm.fs.beneath import directory_beneath, is_there, open_directory_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.opened import opened
from pipm.fs.share_file import ensure_folder
from pipm.store.layers import home_of
from pipm.store.objects import trusted_owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.store.layout import Store


class Pool:
    """The bytecode of one interpreter and optimisation level, below the store's ``bytecode/`` *folder*."""

    def __init__(self, *, folder: int, interpreter: str) -> None:
        self.folder, self.interpreter = folder, interpreter
        self._made: set[str] = set()

    def name(self, source: Digest, time: int) -> str:
        """Return the path, below ``bytecode/``, of the bytecode of *source* with *time* in its header."""
        return f"{self.interpreter}/{key_path(bytecode_key(source, time))}"

    def find(self, source: Digest, time: int) -> os.stat_result | None:
        """Look up the bytecode of *source*; None if it is missing or was changed (another mtime)."""
        try:
            status = os.stat(self.name(source, time), dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        trusted = status.st_uid in trusted_owners()
        return status if trusted and status.st_mtime_ns == bytecode_mtime_ns(time) else None

    def make_room(self, source: Digest) -> None:
        """Make the folder for the bytecode of *source*."""
        room = source.hex()[:2]
        if room in self._made:
            return
        if not self._made:
            ensure_folder(self.folder, self.interpreter, 0o700)
            with opened(open_directory_beneath(self.folder, self.interpreter)) as rooms:
                self._made.update(os.listdir(rooms))
        if room not in self._made:
            ensure_folder(self.folder, f"{self.interpreter}/{room}", 0o700)
            self._made.add(room)


def is_compiled(store: Store, entry: str, interpreter: str) -> bool:
    """Return whether the tree of *entry* has the bytecode of *interpreter*, the name of a pool.

    It is also true for an entry of a layer, because pipm compiles nothing there.
    """
    return is_there(store.v1, f"wheels/{entry}/{_marker(interpreter)}") or home_of(store, entry) is not store


def note_compiled(store: Store, entry: str, interpreter: str) -> None:
    """Write the empty file that `is_compiled` looks for."""
    with directory_beneath(store.v1, f"wheels/{entry}") as folder:
        if folder is not None:
            write_durably(folder, _marker(interpreter), b"", Durability.LATER)


def _marker(interpreter: str) -> str:
    return f"compiled-{interpreter}"
