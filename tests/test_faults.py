"""Commands killed at a change that they make, or whose change fails: a sample of scripts/campaign-faults."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
from support.faults import KILL, Point, benches, sample
from support.process import clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

_POINTS = 4


@pytest.mark.mounts
@pytest.mark.parametrize(("name", "kind"), [("adopt-auto", "ext4"), ("sync-finder", "xfs"), ("gc", "btrfs")])
def test_survives_faults(name: str, kind: str, images: Disk, tmp_path: Path) -> None:
    if shutil.which("strace", path=clean_environ()["PATH"]) is None:
        pytest.skip("strace is not installed")
    for bench in benches([name], [kind], images=images, folder=str(tmp_path)):
        points = bench.points()
        assert {KILL, "EIO"} <= {point.fault for point in points}
        assert len(points) > 200
        chosen = sample(points, _POINTS, random.Random(f"{name} {kind}"))
        faults = {str(point): found for point in chosen if (found := bench.check(point))}
        assert faults == {}


def test_a_point_is_a_value() -> None:
    text = "gc:xfs:unlinkat:3:EIO"
    assert str(Point.parse(text)) == text
