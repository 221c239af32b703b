"""Folders outside of store and environments that pipm makes for its own use."""

from __future__ import annotations

import os


def make_folders(path: str) -> None:
    """Make the folder *path* with all above it, for this user alone where they are new."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def write_marker(path: str) -> None:
    """Make the empty file *path*."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
