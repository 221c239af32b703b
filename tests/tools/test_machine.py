"""Random sequences of operations on real files: the bytes of each environment are those of the model.

Longer ones: scripts/campaign-machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.machine import run_machine
from support.places import fresh_folder

if TYPE_CHECKING:
    from support.disks import Disks


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_random_sequences(disks: Disks, kind: str) -> None:
    for disk in fresh_folder(disks, kind):
        run_machine(disk.path, examples=10, steps=20, seed=1)
