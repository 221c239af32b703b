"""Other tools in an environment with a wrapped pip: the next adopt shares their files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.installers import Wheelhouse, find_version, poetry_variables, uv_install
from support.pipm import Pipm
from support.pips import Twins, assert_same, pip_environ, run_pip, wrap
from support.process import check
from support.store import damage, unshared
from support.synthetic import VERSION, Environment
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.network
BASE = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def pipm(tmp_path_factory: pytest.TempPathFactory) -> Pipm:
    """The command with one store for these tests."""
    return Pipm(store=str(tmp_path_factory.mktemp("shared") / "store"))


def made(pipm: Pipm, path: str) -> Environment:
    """An environment as `pipm venv` makes it."""
    pipm("venv", "--python", BASE, path).expect()
    return find_version(path)


def by_uv(project: str, wheels: Wheelhouse) -> None:
    """As VS Code does where uv is on PATH."""
    uv_install(f"{project}/.venv", *wheels.options(), "--offline", "click==8.1.8", cache=f"{project}/cache")


def by_poetry(project: str, wheels: Wheelhouse) -> None:
    """Into the project's own .venv."""
    write_project(project, wheels, "[tool.poetry]\npackage-mode = false\n")
    variables = poetry_variables(f"{project}/cache")
    for command in ("lock", "install"):
        check(find_tool("poetry"), command, cwd=project, environ=variables)


def by_pdm(project: str, wheels: Wheelhouse) -> None:
    """Into the project's own .venv."""
    write_project(project, wheels, "[tool.pdm]\ndistribution = false\n")
    variables = {"PDM_CACHE_DIR": f"{project}/cache", "PDM_CHECK_UPDATE": "0"}
    pdm = find_tool("pdm")
    check(pdm, "use", "-q", "-f", f"{project}/.venv/bin/python", cwd=project, environ=variables)
    for command in ("lock", "sync"):
        check(pdm, command, "-q", cwd=project, environ=variables)


def write_project(project: str, wheels: Wheelhouse, rest: str) -> None:
    """Write a project with one dependency, which is available."""
    names = ("click ", "colorama ")  # Poetry locks for all platforms
    needs = [need for need in wheels.direct("click==8.1.8") if need.startswith(names)]
    with open(f"{project}/pyproject.toml", "w", encoding="utf-8") as stream:
        stream.write(f'[project]\nname = "project"\nversion = "0"\nrequires-python = "=={VERSION}.*"\n')
        stream.write(f"dependencies = {needs!r}\n{rest}")


@pytest.mark.parametrize("tool", [by_uv, by_poetry, by_pdm])
def test_installers_that_pass_by_pip(
    tool: Callable[[str, Wheelhouse], None], pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    environment = made(pipm, str(tmp_path / ".venv"))
    tool(str(tmp_path), wheelhouse)
    assert environment.run("import click; print(click.__name__)") == "click\n"
    pipm.adopt(environment.path)
    assert unshared(environment.site, pipm.store) == []
    # Its pip is as it was.
    done = run_pip(environment, "install", *wheelhouse.options(), "six==1.17.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert unshared(environment.site, pipm.store) == []
    assert damage(pipm.store) == []


def test_tox_and_its_pip(pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    """tox makes its environments itself; once wrapped, what its pip installs comes out of the store."""
    tox = find_tool("tox")

    def run_tox(*needs: str) -> str:
        with open(tmp_path / "tox.ini", "w", encoding="ascii") as stream:
            lines = "\n ".join(["", *wheelhouse.options()[:1], f"--find-links {wheelhouse.path}", *needs])
            stream.write(f"[tox]\nskipsdist = true\n[testenv]\ndeps ={lines}\n")
            stream.write("commands = python -c 'import click; print(click.__file__)'\n")
        return check(tox, "run", "-e", "py", "-x", f"tox.base_python={BASE}", cwd=str(tmp_path))

    assert "click" in run_tox("click==8.1.8")
    environment = find_version(str(tmp_path / ".tox" / "py"))
    wrap(pipm, environment)
    assert "click" in run_tox("click==8.1.8", "six==1.17.0")
    assert os.stat(environment.file("six.py")).st_nlink > 1
    assert unshared(environment.site, pipm.store) == []


def test_hatch(pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    """An environment of hatch that pipm made: its pip is asked for the dependencies."""
    hatch = find_tool("hatch")
    environment = made(pipm, str(tmp_path / ".venv"))
    write_project(
        str(tmp_path),
        wheelhouse,
        '[tool.hatch.envs.default]\npath = ".venv"\nskip-install = true\ninstaller = "pip"\n'
        f"dependencies = {[n for n in wheelhouse.direct('six==1.17.0') if n.startswith('six ')]!r}\n"
        "[tool.hatch.metadata]\nallow-direct-references = true\n",
    )
    variables = {"HATCH_DATA_DIR": str(tmp_path / "data"), "HATCH_CACHE_DIR": str(tmp_path / "cache")}
    said = check(
        hatch, "run", "python", "-c", "import six; print(six.__file__)", cwd=str(tmp_path), environ=variables
    )
    assert said.strip().startswith(environment.path)
    pipm.adopt(environment.path)
    assert unshared(environment.site, pipm.store) == []


def test_the_magic_of_ipython(pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    environment = made(pipm, str(tmp_path / "env"))
    own = Wheelhouse(path=str(tmp_path / "wheels"))
    own.fetch("ipython")
    check(environment.python, "-m", "pip", "install", "-q", *own.options(), "ipython")
    line = f"%pip install {' '.join(wheelhouse.options())} click==8.1.8"
    variables = pip_environ(IPYTHONDIR=str(tmp_path / "ipython"))
    said = check(environment.python, "-m", "IPython", "-c", line, cwd=environment.path, environ=variables)
    assert "Successfully installed click-8.1.8" in said
    assert "pipm:" not in said
    assert os.stat(environment.file("click/core.py")).st_nlink > 1
    assert unshared(environment.site, pipm.store) == []


def test_pip_goes_and_comes_back(pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    environment = made(pipm, str(tmp_path / "env"))
    done = run_pip(environment, "uninstall", "-y", "pip")
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.exists(environment.file("pip"))
    check(environment.python, "-m", "ensurepip")
    done = run_pip(environment, "install", *wheelhouse.options(), "click==8.1.8")
    assert (done.returncode, done.stderr) == (0, "")
    assert unshared(environment.site, pipm.store) == []
    assert damage(pipm.store) == []


def test_the_users_own_site(pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    """--user, from an environment that sees it; refused from one that does not, as without the wrapper."""
    environment = made(pipm, str(tmp_path / "env"))
    pipm("adopt", "--no-wrap-pip", environment.path).expect()
    place = f"{environment.path}/user"
    identical = Twins(environment=environment, variables={"PYTHONUSERBASE": place})
    identical.copy()
    wrap(pipm, environment)
    arguments = ("install", "--user", *wheelhouse.options(), "click==8.1.8")
    refused = identical.wrapped(*arguments)
    assert "User site-packages are not visible" in refused.err
    assert_same(refused, identical.plain(*arguments))
    for path in (environment.path, f"{environment.path}.plain"):
        with open(f"{path}/pyvenv.cfg", encoding="utf-8") as stream:
            text = stream.read()
        with open(f"{path}/pyvenv.cfg", "w", encoding="utf-8") as stream:
            stream.write(text.replace("packages = false", "packages = true"))
    ours = identical.wrapped(*arguments)
    assert ours.code == 0
    assert os.path.exists(f"{place}/lib/python{VERSION}/site-packages/click/core.py")
    assert_same(ours, identical.plain(*arguments))
