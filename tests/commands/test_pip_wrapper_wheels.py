"""The documented cases of installing wheels have the same results with and without the wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.pip_cases import BAD, CASES
from support.pip_play import play
from support.pipm import Pipm
from support.pips import Twins, environment_with_pip, fetch_pips, wrap
from support.store import damage
from support.tools import newest_interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from support.pip_cases import Case

pytestmark = pytest.mark.network
PIP = "26.3"  # scripts/campaign-pip plays them with the others


@pytest.fixture(scope="module")
def pipm(tmp_path_factory: pytest.TempPathFactory) -> Pipm:
    """The command with one store for all cases."""
    return Pipm(store=str(tmp_path_factory.mktemp("shared") / "store"))


@pytest.fixture(scope="module")
def identical(tmp_path_factory: pytest.TempPathFactory, pipm: Pipm) -> Twins:
    """A wrapped environment and its plain twin, which each case leaves as they were."""
    folder = str(tmp_path_factory.mktemp("twins"))
    pip = fetch_pips(folder, PIP)[PIP]
    environment = environment_with_pip(f"{folder}/env", python=newest_interpreter(), pip=pip)
    identical = Twins(environment=environment, variables={"PYTHONHASHSEED": "0"})
    identical.copy()
    wrap(pipm, environment)
    return identical


@pytest.mark.parametrize("case", [*CASES, *BAD], ids=lambda case: case.name)
def test_the_same_as_plain_pip(case: Case, identical: Twins, pipm: Pipm, tmp_path: Path) -> None:
    assert play(case, identical, str(tmp_path / "wheels")) == []
    assert damage(pipm.store) == []
