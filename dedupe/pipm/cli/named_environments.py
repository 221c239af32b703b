"""Where a command makes an environment that is given by a path, or as @NAME."""

from __future__ import annotations

import os

from pipm.fs.own_files import make_folders
from pipm.store.paths import environment_path


def environment_folder(text: str) -> str:
    """Return the folder that *text* means; that of named environments is made by the first of them."""
    path = environment_path(text)
    if path != text:
        make_folders(os.path.dirname(path))
    return path
