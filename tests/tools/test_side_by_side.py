"""The PyPI distribution `dedupe` has the import package of that name; pipm's is `pipm`."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.installers import venv
from support.process import ROOT, check

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network


def test_beside_the_distribution_dedupe(tmp_path: Path) -> None:
    environment = venv(str(tmp_path / "env"))
    pip = (environment.python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    check(*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), ROOT)
    wheel = next(str(path) for path in tmp_path.glob("venv_dedupe-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert "pipm/py.typed" in archive.namelist()
        assert any(name.endswith(".data/data/share/man/man1/pipm.1") for name in archive.namelist())
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"pipm"}
    check(*pip, "install", "--no-deps", "dedupe", wheel)
    theirs = f"{environment.site}/dedupe/__init__.py"
    with open(theirs, "rb") as file:
        before = file.read()
    check(*pip, "uninstall", "--yes", "venv-dedupe")
    assert os.path.exists(theirs)
    with open(theirs, "rb") as file:
        assert file.read() == before
