"""A sync killed at any change: its root is true, and the next sync finishes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.places import fresh_folder
from support.store import damage
from support.sync_kills import SyncGround
from support.synthetic import make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disks
    from support.pipm import Pipm


@pytest.mark.mounts
@pytest.mark.parametrize(("kind", "mode"), [("xfs", "links"), ("ext4", "finder"), ("ext4", "hidden")])
def test_killed_at_many_changes(disks: Disks, kind: str, mode: str) -> None:
    for disk in fresh_folder(disks, kind):
        context = SyncGround(disk, modules=3)
        number, step, hit = 1, 1, True
        faults: list[tuple[int, str]] = []
        while hit:
            context.prepare_state(mode, "new", then="old" if number % 2 else "new")
            hit, found = context.kill_at_change(number)
            faults += [(number, fault) for fault in found]
            number, step = number + step, step + 1
        assert not faults, "\n".join(f"{number}: {fault}" for number, fault in faults)
        assert number > 40, "the sync made too few changes for this test to mean anything"


def test_killed_before_it_changed_anything(pipm: Pipm, tmp_path: Path) -> None:
    """The next sync has nothing to do but to sweep."""
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    command = ("sync", pylock(str(tmp_path), [wheel]), "--env", str(tmp_path / "env"), "--json")
    pipm(*command).expect()
    left = tmp_path / "env/.pipm-tmp"
    for folder in (f"{pipm.store}/v1/tmp/run-0123456789abcdef", left):
        os.mkdir(folder, 0o700)
    assert pipm(*command).expect().json["unchanged"] == 1
    assert damage(pipm.store) == []
    assert not left.exists()
