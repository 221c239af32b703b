"""The paths of the store and of the cache.

Each `pipm run` imports this, so it must not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import os
import sys

from pipm.errors import UsageError
from pipm.fs.home import cache_home, data_home
from pipm.store.configuration import setting

_LONGEST_PATH = 4096

READY = ".pipm/ready"
"""A file in a complete environment of the cache; a process that uses the environment locks this file."""


def store_path(option: str | None) -> str:
    """Return the absolute path of the store: *option*, the setting, else the user's data folder."""
    chosen = option or setting("store")
    if chosen:
        return os.path.realpath(os.path.expanduser(chosen))
    return os.path.realpath(os.path.join(_data_folder(), "pipm"))


def run_cache_folder() -> str:
    """Return the cache folder, which may be deleted: ``$XDG_CACHE_HOME/pipm``."""
    cache = cache_home()
    return os.path.join(os.path.realpath(cache), "pipm")


def environments_folder() -> str:
    """Return the folder of the environments of `pipm run`."""
    return f"{run_cache_folder()}/environments"


def locks_folder() -> str:
    """Return the folder of the locks that `pipm run --with` resolved."""
    return f"{run_cache_folder()}/locks"


def cache_lock() -> str:
    """Return the lock file of the cache: shared for writers, exclusive for gc."""
    return f"{run_cache_folder()}/lock"


def named_environments_folder() -> str:
    """Return the folder of the named environments: ``$XDG_DATA_HOME/pipm-environments``."""
    return os.path.join(os.path.realpath(_data_folder()), "pipm-environments")


def environment_path(text: str) -> str:
    """Return the folder of the environment *text*: ``@science`` is a named environment, all else a path.

    A file ``.venv`` contains the path of the folder (PEP 832). Named environments belong to the user, not to
    a project: ``$XDG_DATA_HOME/pipm-environments/NAME``.
    """
    if not text.startswith("@"):
        return _folder_in_file(text) if os.path.basename(text) == ".venv" and os.path.isfile(text) else text
    name = text[1:]
    if not name or name != os.path.basename(name) or name.startswith("."):
        raise UsageError(f"{text} is not a valid name of an environment", hint="a valid one is @science")
    return os.path.join(named_environments_folder(), name)


def _folder_in_file(path: str) -> str:
    """Return the folder whose path is in the file at *path*; it is relative to the file's folder."""
    with open(path, "rb") as stream:
        owner, data = os.fstat(stream.fileno()).st_uid, stream.read(_LONGEST_PATH + 1)
    if owner not in (os.geteuid(), 0):
        raise UsageError(
            f"{path} belongs to another user: pipm does not use the path in it",
            hint="name the folder of the environment",
        )
    try:
        name = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        name = ""
    folder = os.path.join(os.path.dirname(os.path.abspath(path)), name)
    if not name or not name.isprintable() or len(data) > _LONGEST_PATH or not os.path.isdir(folder):
        raise UsageError(
            f"{path} is a file without the path of a folder",
            hint="write the path of an environment into it, or name the environment",
        )
    return folder


def _data_folder() -> str:
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support")
    return data_home()
