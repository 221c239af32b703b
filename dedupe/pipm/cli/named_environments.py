"""The folder of an environment that is named by a path or as @NAME."""

from __future__ import annotations

import os

from pipm.fs.own_files import make_folders
from pipm.store.paths import environment_path


def environment_folder(text: str) -> str:
    """Return the folder that *text* means; the parent folder of named environments is made if needed."""
    path = environment_path(text)
    if path != text:
        make_folders(os.path.dirname(path))
    return path
