"""Finding programs as shells do, without the import of shutil.

Each `pipm run` imports this, so it must not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import os


def which(program: str, path: str | None = None) -> str | None:
    """Find *program* in the folders of *path* (default: ``PATH``); with a slash it is a path itself."""
    if "/" in program:
        return program if _is_program(program) else None
    folders = (path or os.environ.get("PATH", os.defpath)).split(os.pathsep)
    found = (os.path.join(folder, program) for folder in folders if folder)
    return next(filter(_is_program, found), None)


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)
