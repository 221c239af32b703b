"""Commands killed at a change that they make, or whose change fails: a sample of scripts/campaign-faults."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
from support.fault_points import KILL, Point, sample
from support.faults import benches
from support.process import clean_environ
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk
    from support.pipm import Pipm

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


def test_a_file_that_a_killed_release_began_is_finished(pipm: Pipm, tmp_path: Path) -> None:
    made = make_environment(str(tmp_path / "env"))
    install(made, "alpha==1.0", package("alpha", modules=1))
    path = tmp_path / made.file("alpha/py.typed")
    before = path.stat()
    pipm.adopt(made.path, mode="finder")
    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    pipm.release(made.path)
    after = path.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_a_point_is_a_value() -> None:
    text = "gc:xfs:unlinkat:3:EIO"
    assert str(Point.parse(text)) == text
