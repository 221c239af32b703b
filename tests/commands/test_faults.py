"""Commands that are killed at a change, or whose change fails: a sample of scripts/campaign-faults."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from support.fault_points import Point
from support.faults import assert_survives
from support.faults_cases import CASES, CASES_WITH_PIP

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

_KINDS = ("xfs", "btrfs", "ext4")
_CHEAP = [name for name in CASES if name not in CASES_WITH_PIP]


@pytest.mark.mounts
@pytest.mark.parametrize(("name", "kind"), list(zip(_CHEAP, itertools.cycle(_KINDS), strict=False)))
def test_survives_faults(name: str, kind: str, images: Disk, tmp_path: Path) -> None:
    assert_survives(name, kind, images, str(tmp_path), points=20)


def test_a_point_is_a_value() -> None:
    text = "gc:xfs:unlinkat:3:EIO"
    assert str(Point.parse(text)) == text
