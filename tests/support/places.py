"""Folders for tests, and the real distributions that they install."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from support.disks import Disk, Disks, MountError

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = ("six==1.17.0", "click==8.1.8", "packaging==24.2", "attrs==25.3.0", "rich==14.1.0")
SMALL_OTHER = ("six==1.16.0", "click==8.1.7", "rich==14.0.0")
LARGE = (
    "numpy==2.3.3",
    "pandas==2.3.3",
    "django==5.2.7",
    "requests==2.32.5",
    "rich==14.1.0",
    "matplotlib==3.10.7",
)
LARGE_OTHER = (
    "pandas==2.3.2",
    "requests==2.32.4",
    "matplotlib==3.10.6",
    "django==5.2.6",
    "rich==14.0.0",
)
LARGE_POETRY = ("django==5.2.6", "rich==14.0.0", *(LARGE[i] for i in (0, 1, 3, 5)))
WINDOWS_ONLY = "colorama==0.4.6"  # Poetry locks for all platforms and asks for it
TESTERS = ("pytest==8.4.2", "hypothesis==6.140.2")


_numbers = itertools.count()


def fresh_folder(disks: Disks, kind: str) -> Iterator[Disk]:
    """A new folder on one of the run's file systems, removed at the end."""
    try:
        whole = disks.get(kind)
    except MountError as error:
        pytest.skip(f"no {kind}: {error}")
    path = whole / f"test{next(_numbers)}"
    os.mkdir(path)
    yield Disk(kind=kind, path=path)
    shutil.rmtree(path, ignore_errors=True)
