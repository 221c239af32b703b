"""Jupyter's kernels: folders with a ``kernel.json`` that names the interpreter of an environment."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from pipm.fs.beneath import read_file
from pipm.fs.home import data_home

if TYPE_CHECKING:
    from collections.abc import Iterable


def kernels_of(folders: Iterable[str]) -> list[str]:
    """Return the names of this user's kernels whose interpreter is below one of *folders*."""
    below = tuple(f"{folder}/" for folder in folders)
    data = os.environ.get("JUPYTER_DATA_DIR") or (
        os.path.expanduser("~/Library/Jupyter") if sys.platform == "darwin" else f"{data_home()}/jupyter"
    )
    try:
        names = sorted(os.listdir(f"{data}/kernels"))
    except OSError:
        return []
    return [name for name in names if _bin_folder(f"{data}/kernels/{name}").startswith(below)]


def _bin_folder(kernel: str) -> str:
    """Return the real path of the folder of a kernel's interpreter, which itself is often a symlink."""
    try:
        program: str = json.loads(read_file(f"{kernel}/kernel.json") or b"")["argv"][0]
        return os.path.realpath(os.path.dirname(program))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ""
