"""A command on one environment changes nothing else on the file system.

More file systems, makers, modes and random sequences: scripts/campaign-neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.neighbours import neighbourhood, run_steps

if TYPE_CHECKING:
    from support.disks import Disks

AMID = (
    "attributes",
    "backup by hard links",
    "backup by reflinks",
    "linked files",
    "bind mount",
    "read-only snapshot",
    "snapshot",
)
COMMANDS = (
    "adopt ENV --link-mode MODE",
    "adopt ENV --link-mode MODE",
    "adopted copy by hard links",
    "verify ENV --full --repair",
    "sync LOCK2 --env ENV --link-mode MODE",
    "gc --keep 0",
    "release ENV",
)
CASES = (
    ("ext4", "", "plain", "hardlink"),
    ("ext4", "", "hardlink", "finder"),
    ("xfs", "", "hardlink", "reflink"),
    ("xfs", "", "clone", "hardlink"),
    ("btrfs", "compress=zstd:1", "clone", "reflink"),
    ("btrfs", "", "hardlink", "symlink"),
)


@pytest.mark.mounts
@pytest.mark.parametrize(("kind", "mount", "maker", "mode"), CASES)
def test_nothing_else_differs(disks: Disks, kind: str, mount: str, maker: str, mode: str) -> None:
    with (
        disks.small(kind, size="1G", name=f"neighbours-{kind}", mount=mount) as disk,
        neighbourhood(disk) as place,
    ):
        place.make(maker)
        run_steps(place, (*AMID, *(command.replace("MODE", mode) for command in COMMANDS)))
