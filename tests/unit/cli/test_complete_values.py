"""A shell completes values, not only options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.process import run

if TYPE_CHECKING:
    from support.pipm import Pipm


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("adopt --link-mode ", "hardlink"),
        ("sync --link-mode re", "reflink"),
        ("help li", "link-modes"),
        ("why nu", "numpy"),
    ],
)
def test_values(pipm: Pipm, words: str, expected: str) -> None:
    os.makedirs(f"{pipm.store}/v1/wheels/numpy")
    command, variables = pipm.command()
    count = len(f"pipm {words}x".split()) - 1
    asked = {"_PIPM_COMPLETE": "complete_bash", "COMP_WORDS": f"pipm {words}", "COMP_CWORD": str(count)}
    assert expected in run(*command, environ=variables | asked).stdout.split()
