"""`pipm rm`: delete an environment, and nothing that may be more than one."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.env.environment import require_venv
from pipm.errors import FileSystemError, UsageError
from pipm.fs.removal import move_aside, remove_folder_at
from pipm.store.layout import open_store
from pipm.store.roots import remove_root

if TYPE_CHECKING:
    from pipm.context.progress import Progress
    from pipm.env.environment import Environment

_OF_ENVIRONMENTS = re.compile(
    r"bin|include|lib|lib64|share|etc|man|Scripts|Lib|site-packages|pyvenv\.cfg|\.pipm|\.gitignore|\.lock"
    r"|CACHEDIR\.TAG|uv-receipt\.toml|pipx_metadata\.json|pip-selfcheck\.json|\.tox-info\.json|log|tmp|\.DS_Store"
)
"""The names that venv, virtualenv, uv, tox, pipx, pipm and wheels make in an environment's folder."""


def removable_environment(store_path: str, path: str) -> Environment:
    """Load the environment at *path*; raise UsageError if its folder contains something else."""
    if os.path.islink(path):
        raise UsageError(f"{path} is a symbolic link", hint=f"name the environment: {os.path.realpath(path)}")
    environment = checked_environment(store_path, path)
    require_venv(environment, "pipm rm")
    others = [name for name in sorted(os.listdir(environment.path)) if not _OF_ENVIRONMENTS.fullmatch(name)]
    if others:
        raise UsageError(
            f"{path} contains more than an environment: {', '.join(others[:5])}{', …' if others[5:] else ''}",
            hint="move that elsewhere first, or delete the folder yourself",
        )
    if f"{os.path.realpath(sys.prefix)}/".startswith(f"{environment.path}/"):
        raise UsageError(
            f"pipm itself runs from {path}", hint="uninstall pipm with the tool that installed it"
        )
    return environment


def remove_environment(store_path: str, environment: Environment, progress: Progress) -> None:
    """Delete *environment* and the store's notes about it; shared files stay for others.

    It is renamed first, so that a killed run leaves a complete environment or none with that name.
    """
    store = open_store(store_path, create=False)
    with locked_environment(store, environment, progress):
        aside = move_aside(environment.path)
        if store is not None:
            remove_root(store, environment.path)
        for stuck in remove_folder_at(aside):
            raise FileSystemError(
                f"Cannot delete {stuck.path}: {stuck.reason}", hint=f"the rest of it is gone: rm -r {aside}"
            )
