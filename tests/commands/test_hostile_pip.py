"""Hostile wheels and a wrapped pip: pip decides, but the store takes none that pipm would refuse."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.installers import venv
from support.pipm import FAILED, Pipm
from support.pips import run_pip, wrap
from support.process import check
from support.snapshot import difference, file_digest, snapshot
from support.store import damage
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from support.synthetic import Environment

INFO, DATA = "demo-1.0.dist-info", "demo-1.0.data"
SCRIPT = b"#!python\nprint('evil')\n"
HOSTILE = {
    "an interpreter": {f"{DATA}/scripts/python": SCRIPT},
    "an entry point": {f"{INFO}/entry_points.txt": b"[console_scripts]\npython3 = demo:main\n"},
    "pyvenv.cfg": {f"{DATA}/data/pyvenv.cfg": b"home = /nowhere\n"},
    "pipm's folder": {f"{DATA}/data/.pipm/finder/receipt.json": b"[" * 100_000},
    "pipm's hook": {"_pipm_finder.py": b"print('evil')\n", "000_pipm.pth": b"import _pipm_finder\n"},
}


@pytest.fixture(scope="module")
def pipm(tmp_path_factory: pytest.TempPathFactory) -> Pipm:
    """The command with one store for all cases."""
    return Pipm(store=str(tmp_path_factory.mktemp("store") / "store"))


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory, pipm: Pipm) -> Environment:
    """An environment with a wrapped pip, and a copy of it."""
    environment = venv(str(tmp_path_factory.mktemp("place") / "env"))
    wrap(pipm, environment)
    check("cp", "-a", environment.path, f"{environment.path}.kept")
    return environment


@pytest.mark.parametrize("case", HOSTILE)
def test_the_store_stays_sound(case: str, wrapped: Environment, pipm: Pipm, tmp_path: Path) -> None:
    wheel = make_wheel(str(tmp_path), "demo==1.0", {"demo.py": b"x = 1\n"} | HOSTILE[case])
    refused = pipm("store", "add", wheel)
    refused.expect(FAILED)
    place = os.path.dirname(wrapped.path)
    check("rm", "-rf", wrapped.path)
    check("cp", "-a", f"{wrapped.path}.kept", wrapped.path)
    before = snapshot(f"{wrapped.path}.kept")
    done = run_pip(wrapped, "install", "--no-deps", "--no-index", wheel)
    assert "pipm" not in done.stderr or "Traceback" not in done.stderr, done.stderr
    assert sorted(os.listdir(place)) == ["env", "env.kept"]
    assert difference(before, snapshot(f"{wrapped.path}.kept")) == []
    assert damage(pipm.store) == []
    assert file_digest(wheel) not in os.listdir(f"{pipm.store}/v1/by-wheel")
    assert os.listdir(f"{pipm.store}/v1/tmp") == []
    pipm("verify", "--full").expect()
