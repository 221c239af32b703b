"""Finding programs as shells do, without the import of shutil.

A warm `pipm run` imports this: nothing here may import what takes milliseconds (dataclasses, typing, re).
"""

from __future__ import annotations

import os


def which(program: str, path: str | None = None) -> str | None:
    """Find *program* in the folders of *path* (default: ``PATH``), unless it has a slash."""
    if "/" in program:
        return program if _is_program(program) else None
    folders = (path or os.environ.get("PATH", os.defpath)).split(os.pathsep)
    found = (os.path.join(folder, program) for folder in folders if folder)
    return next(filter(_is_program, found), None)


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)
