"""A sync killed at any change it makes: what its root says is true, and the next sync finishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.places import fresh_folder
from support.sync_kills import SyncGround

if TYPE_CHECKING:
    from support.disks import Disks


@pytest.mark.mounts
@pytest.mark.parametrize(("kind", "mode"), [("xfs", "links"), ("ext4", "finder"), ("ext4", "hidden")])
def test_killed_at_many_changes(disks: Disks, kind: str, mode: str) -> None:
    for disk in fresh_folder(disks, kind):
        ground = SyncGround(disk, modules=3)
        number, step, hit = 1, 1, True
        faults: list[tuple[int, str]] = []
        while hit:
            ground.prepare_state(mode, "new")
            hit, found = ground.kill_at_change(number)
            faults += [(number, fault) for fault in found]
            number, step = number + step, step + 1
        assert not faults, "\n".join(f"{number}: {fault}" for number, fault in faults)
        assert number > 40, "the sync made too few changes for this test to mean anything"
