"""Commands killed at a change that they make, or whose change fails: a sample of scripts/campaign-faults."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from support.fault_points import Point
from support.faults import assert_survives
from support.faults_cases import CASES, CASES_WITH_PIP
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk
    from support.pipm import Pipm

_KINDS = ("xfs", "btrfs", "ext4")
_CHEAP = [name for name in CASES if name not in CASES_WITH_PIP]


@pytest.mark.mounts
@pytest.mark.parametrize(("name", "kind"), list(zip(_CHEAP, itertools.cycle(_KINDS), strict=False)))
def test_survives_faults(name: str, kind: str, images: Disk, tmp_path: Path) -> None:
    assert_survives(name, kind, images, str(tmp_path), points=20)


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
