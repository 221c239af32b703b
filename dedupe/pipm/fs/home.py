"""The user's folders of the XDG Base Directory Specification."""

from __future__ import annotations

import os
import stat


def data_home() -> str:
    """Return ``$XDG_DATA_HOME``, else ``~/.local/share``."""
    return _folder("XDG_DATA_HOME", "~/.local/share")


def cache_home() -> str:
    """Return ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    return _folder("XDG_CACHE_HOME", "~/.cache")


def config_home() -> str:
    """Return ``$XDG_CONFIG_HOME``, else ``~/.config``."""
    return _folder("XDG_CONFIG_HOME", "~/.config")


def is_own(path: str) -> bool:
    """Return whether this user owns the file or folder at *path*."""
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def is_read_only(path: str) -> bool:
    """Return whether this user owns the folder at *path*, and it is on a read-only disk or snapshot."""
    return is_own(path) and not os.access(path, os.W_OK) and bool(os.stat(path).st_mode & stat.S_IWUSR)


def _folder(variable: str, default: str) -> str:
    # The specification: a relative path is invalid and to be ignored.
    path = os.environ.get(variable, "")
    return path if os.path.isabs(path) else os.path.expanduser(default)
