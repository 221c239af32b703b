"""Commands that call pip, killed or failing at a change: a sample of scripts/campaign-faults."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from support.disks import KINDS
from support.faults import assert_survives
from support.faults_cases import CASES_WITH_PIP

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk


@pytest.mark.mounts
@pytest.mark.parametrize(("name", "kind"), list(zip(CASES_WITH_PIP, itertools.cycle(KINDS), strict=False)))
def test_survives_faults(name: str, kind: str, images: Disk, tmp_path: Path) -> None:
    assert_survives(name, kind, images, str(tmp_path), points=4)
