"""Commands with the name of a folder instead of an environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.pipm import USAGE
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm


def test_an_environment_far_below_is_not_meant(pipm: Pipm, tmp_path: Path) -> None:
    """A program's own environment below ``/usr``, say; one directly in the folder is taken."""
    made = make_environment(f"{tmp_path}/usr/lib/program/env")
    install(made, "alpha==1.0", package("alpha"))
    refused = pipm("adopt", f"{tmp_path}/usr").expect(USAGE)
    assert f"{tmp_path}/usr/lib/program/env" in refused.err
    assert os.stat(f"{made.site}/alpha/__init__.py").st_nlink == 1
    pipm("adopt", f"{tmp_path}/usr/lib/program").expect()
    assert os.stat(f"{made.site}/alpha/__init__.py").st_nlink > 1
