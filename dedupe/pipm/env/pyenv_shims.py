"""Finding the interpreter that a pyenv shim starts, without starting it.

A shim is a shell script that needs 100 ms to start the interpreter. Each `pipm run` imports this, so it must
not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import os

from pipm.env.find_program import which

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator


def shim_target(path: str) -> str | None:
    """Return the program that *path* starts: *path* itself unless it is a shim; None if no version has it."""
    folder, name = os.path.split(path)
    root = os.path.dirname(folder)
    if os.path.basename(folder) != "shims" or not os.path.isdir(f"{root}/versions"):
        return path
    for version in _chosen(root):
        if version == "system":
            rest = [part for part in os.get_exec_path() if os.path.normpath(part) != os.path.normpath(folder)]
            found = which(name, path=os.pathsep.join(rest))
            if found is not None:
                return found
            continue
        if "/" in version or not os.path.isdir(f"{root}/versions/{version}"):
            return path  # a prefix like 3.12, or a name for which pyenv prints an error
        if os.access(f"{root}/versions/{version}/bin/{name}", os.X_OK):
            return f"{root}/versions/{version}/bin/{name}"
    return None


def _chosen(root: str) -> list[str]:
    """Return the versions that pyenv searches (`pyenv help version`): variable, nearest file, global."""
    named = os.environ.get("PYENV_VERSION")
    if named:
        return named.split(":")
    for file in _version_files(root):
        try:
            with open(file, encoding="utf-8") as stream:
                return [word for line in stream for word in line.partition("#")[0].split()] or ["system"]
        except (OSError, ValueError):
            continue
    return ["system"]


def _version_files(root: str) -> Iterator[str]:
    for folder in dict.fromkeys((os.environ.get("PYENV_DIR") or os.getcwd(), os.getcwd())):
        while True:
            yield os.path.join(folder, ".python-version")
            above = os.path.dirname(folder)
            if above == folder:
                break
            folder = above  # noqa: PLW2901 - the search goes upward
    yield f"{root}/version"
