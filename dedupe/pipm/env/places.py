"""The kinds of places with Python packages, recognised by their names and their content."""

from __future__ import annotations

import os

from pipm.errors import NotAnEnvironmentError
from pipm.fs.beneath import read_beneath, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = "pyvenv.cfg"
CONDA = "conda-meta"
VENV, USER, INTERPRETER, PROJECT = "venv", "user", "interpreter", "__pypackages__"
LIBRARIES = frozenset({USER, INTERPRETER, PROJECT})
"""The kinds of places to which only the packages belong, not the files beside them."""
_SYSTEMS = frozenset({"usr", "files"})
"""Prefixes in the tree of a whole system: of an image, a container, Flatpak (``files``)."""
_BY_FOLDER = (
    ("poetry", "/pypoetry/virtualenvs"),
    ("tox", "/.tox"),
    ("nox", "/.nox"),
    ("pixi", "/.pixi/envs"),
)
"""Kinds by the end of the path of the folder that contains the environment."""
_BY_FILE = (("pipx", "pipx_metadata.json"), ("uv tool", "uv-receipt.toml"), ("conda", CONDA))


def marker_of(path: str) -> str:
    """Return the marker that shows that *path* contains packages, relative to it; empty if it does not.

    A venv has ``pyvenv.cfg``, a conda environment ``conda-meta``. The library folder of an interpreter or of
    a user (``~/.local/lib/python3.12``) has ``site-packages``, a folder of ``__pypackages__`` (PEP 582)
    ``lib``: of these only the packages belong to the place.
    """
    if os.path.isfile(f"{path}/{CONFIGURATION}"):
        return CONFIGURATION
    if _is_folder(f"{path}/{CONDA}"):
        return CONDA
    if _is_projects(path):
        return "lib" if _is_folder(f"{path}/lib") else ""
    is_library = version_in_path(path) and _is_folder(f"{path}/site-packages") and _library_kind(path)
    return "site-packages" if is_library else ""


def kind_of(path: str) -> str:
    """Return the kind of the place *path*: venv, conda, user, interpreter, project, or a tool's name."""
    tool = _tool_by_path(path)
    if tool:
        return tool
    for kind, name in _BY_FILE:
        if os.path.lexists(f"{path}/{name}"):
            return kind
    if os.path.lexists(f"{path}/{CONFIGURATION}"):
        return VENV
    if _is_projects(path):
        return PROJECT
    return (_library_kind(path) if version_in_path(path) else "") or VENV


def _tool_by_path(path: str) -> str:
    folder, _, name = path.rpartition("/")
    if "/hatch/env/" in path:
        return "hatch"
    if "/pre-commit/" in folder and name.startswith("py_env-"):
        return "pre-commit"
    return next((tool for tool, ending in _BY_FOLDER if folder.endswith(ending)), "")


def made_by_uv(path: str) -> bool:
    """Return whether uv made the environment at *path*: it says so in ``pyvenv.cfg``."""
    return b"\nuv =" in b"\n" + (read_file(f"{path}/{CONFIGURATION}") or b"")


def lost_interpreter(path: str) -> str:
    """Return what to do about the environment *path* if its interpreter is gone, else ""."""
    if kind_of(path) in LIBRARIES or os.path.exists(f"{path}/bin/python"):
        return ""
    return "its interpreter is gone: create the environment again, or delete it"


def version_in_path(path: str) -> str:
    """Return the version of Python in the name: of ``lib/python3.12``, or of ``__pypackages__/3.12``."""
    name = os.path.basename(path)
    version = version_in_name(name)
    return version if "." in version else name if _is_projects(path) else ""


def version_in_name(name: str) -> str:
    """Return the version in a name such as ``python3.12``, ``python3.13t`` or ``python3``; or ""."""
    rest = name.removeprefix("python").removeprefix("pypy")
    version = rest.rstrip("abcdefghijklmnopqrstuvwxyz")
    numbers = version.split(".")
    known = rest != name and len(numbers) <= 2 and all(one.isascii() and one.isdecimal() for one in numbers)
    return version if known else ""


def _is_projects(path: str) -> bool:
    return os.path.basename(os.path.dirname(path)) == "__pypackages__"


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def interpreter_of_library(path: str) -> str | None:
    """Return the interpreter of the library folder *path*, or None."""
    program = f"{os.path.dirname(os.path.dirname(path))}/bin/{os.path.basename(path)}"
    return program if os.access(program, os.X_OK) else None


def _library_kind(path: str) -> str:
    """Return the kind of a library folder that is a place of its own; "" for any other folder."""
    prefix = os.path.dirname(os.path.dirname(path))
    if os.path.basename(prefix) == ".local":
        return USER
    if os.path.lexists(f"{prefix}/{CONFIGURATION}") or os.path.lexists(f"{prefix}/{CONDA}"):
        return ""
    whole = os.path.isfile(f"{path}/os.py") and interpreter_of_library(path) is not None
    return INTERPRETER if whole and os.path.basename(prefix) not in _SYSTEMS else ""


def paths_of_others(path: str, root: int) -> frozenset[str]:
    """Return the files at *path*, open as *root*, that conda owns or that are mounted there, relative to it.

    Raises NotAnEnvironmentError as `conda_paths` does.
    """
    from pipm.fs.free_space import mounted_below  # noqa: PLC0415 - a sync with nothing to do lists no files

    return conda_paths(root) | mounted_below(path)


def conda_paths(root: int) -> frozenset[str]:
    """Return the paths that conda's packages own in the environment open as *root*, relative to it.

    Raises NotAnEnvironmentError if a package's list cannot be read: then conda's files are unknown.
    """
    try:
        folder = os.open(CONDA, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        return frozenset()
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json")]
    finally:
        os.close(folder)
    return frozenset(path for name in names for path in _paths_of(root, f"{CONDA}/{name}"))


def _paths_of(root: int, name: str) -> Iterator[str]:
    """Yield the paths of one package: those of ``files``, and of ``paths_data``, which has the details."""
    import json  # noqa: PLC0415 - only conda has such files

    try:
        package = json.loads(read_beneath(root, name) or b"")
        if not {"files", "paths_data"}.intersection(package):
            raise KeyError("files")  # noqa: TRY301 - the same message as for other damage
        for path in package.get("files") or ():
            yield os.path.normpath(path)
        for row in (package.get("paths_data") or {}).get("paths") or ():
            yield os.path.normpath(row["_path"])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise NotAnEnvironmentError(
            f"{name} does not list the files of conda", hint="repair the environment with conda first"
        ) from error
