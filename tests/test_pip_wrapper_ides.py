"""IDEs and static tools see an ordinary venv where pip installed out of the store, in all link modes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.installers import venv
from support.pipm import Pipm
from support.pips import run_pip
from support.places import fresh_folder
from support.process import check, run
from support.store import unshared
from support.synthetic import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.disks import Disk, Disks
    from support.installers import Wheelhouse

pytestmark = [pytest.mark.network, pytest.mark.mounts]
NAMES = ("attrs", "click", "rich")
PROGRAM = """\
import attr
import click
from rich.console import Console

reveal_type(click.Command("x").name)
number: int = Console().width
wrong: int = click.Command("x").name
attr.no_such_name
"""

VS_CODE = (
    "import json, sys; json.dump({'versionInfo': tuple(sys.version_info), 'sysPrefix': sys.prefix,"
    " 'sysVersion': sys.version, 'is64Bit': sys.maxsize > 2**32, 'executable': sys.executable}, sys.stdout)"
)
"""pythonFiles/interpreterInfo.py of VS Code's Python extension."""
PATHS = (
    "import os, os.path, sys; print(chr(10).join(os.path.realpath(p) for p in sys.path if os.path.isdir(p)))"
)
"""How pyright, mypy and PyCharm learn where packages lie."""
SITE = "import site, sysconfig; print(site.getsitepackages(), sysconfig.get_paths()['purelib'])"
NAMES_SEEN = (
    "from importlib.metadata import distributions, files, version;"
    "print(sorted((d.metadata['Name'], d.version, len(d.files or ())) for d in distributions()))"
)
PYCHARM = (
    "import runpy, sys; sys.argv = ['pip', 'list', '--format=json'];"
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
"""What PyCharm's packaging_tool.py does in the environment's interpreter."""


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Wheelhouse) -> Environment:
    """A plain environment."""
    plain = venv(str(tmp_path_factory.mktemp("ordinary") / "env"))
    done = run_pip(plain, "install", "-q", *wheelhouse.options(), *NAMES)
    assert done.returncode == 0, done.stderr
    return plain


@pytest.fixture(scope="module", params=["hardlink", "symlink", "reflink"])
def pair(
    request: pytest.FixtureRequest, disks: Disks, wheelhouse: Wheelhouse, ordinary: Environment
) -> Iterator[tuple[Environment, Environment]]:
    """The plain environment, and one whose pip put the same into the store and out of it."""
    mode = request.param
    for disk in fresh_folder(disks, "xfs" if mode == "reflink" else "ext4"):
        yield ordinary, wrapped_environment(disk, wheelhouse, mode)


def wrapped_environment(disk: Disk, wheelhouse: Wheelhouse, mode: str) -> Environment:
    pipm = Pipm(store=disk / "store")
    wrapped = Environment(path=disk / "env")
    base = os.path.realpath(sys.executable)
    pipm("venv", "--python", base, "--link-mode", mode, wrapped.path).expect()
    done = run_pip(wrapped, "install", "-q", *wheelhouse.options(), *NAMES)
    assert (done.returncode, done.stderr) == (0, "")
    left = unshared(wrapped.site, pipm.store)
    assert mode == "reflink" or not left
    return wrapped


def answers(environment: Environment, *command: str) -> str:
    """What a program says of an environment, without the environment's path."""
    done = run(*command, cwd=environment.path)
    text = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return text.replace(environment.path, "ENV")


@pytest.mark.parametrize("probe", [VS_CODE, PATHS, SITE, NAMES_SEEN, PYCHARM])
def test_probes_of_ides(pair: tuple[Environment, Environment], probe: str) -> None:
    plain, wrapped = pair
    ours, theirs = (answers(one, one.python, "-c", probe) for one in (wrapped, plain))
    assert ours == theirs
    assert ours.startswith("0\n")


@pytest.mark.parametrize(
    "command", [("list", "--format=json"), ("freeze", "--all"), ("inspect",), ("check",)]
)
def test_pip_as_vs_code_asks_it(pair: tuple[Environment, Environment], command: tuple[str, ...]) -> None:
    plain, wrapped = pair
    ours, theirs = (run_pip(one, *command) for one in (wrapped, plain))
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
    if command[0] == "inspect":
        assert inspected(ours.stdout) == inspected(theirs.stdout)
    else:
        assert ours.stdout == theirs.stdout


def inspected(text: str) -> dict[str, object]:
    """Name → metadata, since pip tells them in the folder's own order."""
    metadata = [row["metadata"] for row in json.loads(text)["installed"]]
    return {row["name"]: row for row in metadata}


def test_the_folder_looks_like_a_venv(pair: tuple[Environment, Environment]) -> None:
    plain, wrapped = pair
    keys = []
    for one in pair:
        with open(f"{one.path}/pyvenv.cfg", encoding="utf-8") as stream:
            keys.append([line.partition("=")[0] for line in stream])
    assert keys[0] == keys[1]
    assert set(os.listdir(f"{plain.path}/bin")) == set(os.listdir(f"{wrapped.path}/bin"))
    script = (
        "source bin/activate && python -c 'import sys; print(sys.prefix)' && command -v pip && deactivate"
    )
    assert answers(wrapped, "bash", "-c", script) == answers(plain, "bash", "-c", script)


def test_mypy(pair: tuple[Environment, Environment], tmp_path_factory: pytest.TempPathFactory) -> None:
    said = []
    for one in pair:
        folder = tmp_path_factory.mktemp("mypy")
        (folder / "program.py").write_text(PROGRAM)
        options = ("--python-executable", one.python, "--cache-dir", str(folder / "cache"))
        done = run(sys.executable, "-m", "mypy", *options, "program.py", cwd=str(folder))
        said.append(done.stdout)
    assert said[0] == said[1]
    assert "Module has no attribute" in said[0] or "no_such_name" in said[0], said[0]
    assert "import-not-found" not in said[0]
    check(pair[0].python, "-c", "import attr")
