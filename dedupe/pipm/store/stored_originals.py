"""Storing the original modes and times of an environment's files beside its root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.originals import originals_from
from pipm.fs.beneath import open_directory_beneath, read_beneath
from pipm.fs.durability import SmallFile
from pipm.fs.share_file import ensure_folder
from pipm.store.roots import ORIGINALS, root_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import ExitStack

    from pipm.core.originals import Originals
    from pipm.store.layout import Store


def read_originals(store: Store, path: str) -> Originals | None:
    """Read the record of the environment at the absolute *path*; None if it is missing or damaged."""
    data = read_beneath(store.v1, f"{ORIGINALS}/{root_name(path)}")
    return None if data is None else originals_from(data)


def record_blocks(store: Store, path: str) -> int:
    """Return the bytes on disk of the record of the environment at *path*."""
    try:
        return os.stat(f"{ORIGINALS}/{root_name(path)}", dir_fd=store.v1).st_blocks * 512
    except FileNotFoundError:
        return 0


def originals_files(
    store: Store, records: Iterable[tuple[str, bytes]], stack: ExitStack
) -> Iterator[SmallFile]:
    """Yield files for *records* (path of an environment, content), to be written while *stack* is open."""
    ensure_folder(store.v1, ORIGINALS, 0o700)
    folder = open_directory_beneath(store.v1, ORIGINALS)
    stack.callback(os.close, folder)
    for path, originals in records:
        yield SmallFile(folder, root_name(path), originals)
