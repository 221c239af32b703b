"""Jupyter with `pipm run`, and a kernel of a finder environment used from outside."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.pipm import Pipm
from support.process import check
from support.synthetic import Environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network


def notebook(path: Path) -> None:
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}}
    cell |= {"outputs": [], "source": ["import six, sys\n", "print(six.__file__, sys.prefix)"]}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    document = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document), encoding="utf-8")


def printed(path: Path) -> list[str]:
    document = json.loads(path.read_text(encoding="utf-8"))
    (output,) = document["cells"][0]["outputs"]
    return "".join(output["text"]).split()


def test_notebooks_run_and_a_kernel_works_outside(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    environ["HOME"] = str(tmp_path)
    pipm = Pipm(store=str(tmp_path / "store"), cwd=str(tmp_path), environ=environ)
    (tmp_path / "needs.in").write_text("ipykernel\nnbclient\nsix\n", encoding="utf-8")
    lock = ("--lock", "pylock.k.toml")
    pipm("lock", "needs.in", "-o", lock[1]).expect()
    notebook(tmp_path / "book.ipynb")
    execute = ("jupyter", "execute", "--inplace", "book.ipynb")
    pipm("run", *lock, *execute).expect()
    file, prefix = printed(tmp_path / "book.ipynb")
    assert file.startswith(f"{pipm.store}/v1/wheels/six/")
    assert prefix.startswith(f"{environ['XDG_CACHE_HOME']}/pipm/environments/")
    environment = Environment(path=os.path.realpath(tmp_path / "env"))
    pipm("sync", lock[1], "--env", environment.path, "--link-mode", "finder").expect()
    kernels = str(tmp_path / "kernels")
    check(environment.python, "-m", "ipykernel", "install", "--prefix", kernels, "--name", "mine")
    outside = replace(pipm, environ=environ | {"JUPYTER_PATH": f"{kernels}/share/jupyter"})
    outside("run", *lock, *execute, "--kernel_name=mine").expect()
    file, prefix = printed(tmp_path / "book.ipynb")
    assert file.startswith(f"{pipm.store}/v1/wheels/six/")
    assert prefix == environment.path
