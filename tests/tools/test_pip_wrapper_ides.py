"""IDEs and static tools see an ordinary venv after a wrapped pip, in all link modes."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

import pytest
from support.installers import venv
from support.pipm import Pipm
from support.pips import run_pip
from support.places import fresh_folder
from support.process import run
from support.store import unshared
from support.synthetic import Environment
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


@pytest.fixture(scope="module", params=["hardlink", "symlink", "reflink", "finder"])
def pair(
    request: pytest.FixtureRequest, disks: Disks, wheelhouse: Wheelhouse, ordinary: Environment
) -> Iterator[tuple[Environment, Environment]]:
    """The ordinary environment, and one with the same distributions by a wrapped pip."""
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
    if mode == "finder":
        assert not os.path.exists(wrapped.file("click/core.py"))
    elif mode != "reflink":
        assert unshared(wrapped.site, pipm.store) == []
    return wrapped


def answers(environment: Environment, *command: str) -> str:
    """What a program says of an environment, without the environment's path."""
    done = run(*command, cwd=environment.path)
    # The finder's folders and its index are on sys.path.
    finders = (f"{os.path.dirname(environment.path)}/store/", f"{environment.path}/.pipm/index")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(finders)]
    text = "\n".join([str(done.returncode), *lines, done.stderr])
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
    """Return metadata by name, because pip prints them in the folder's order."""
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


def checked_by(
    pair: tuple[Environment, Environment],
    folder: Path,
    command: Callable[[Environment, str], tuple[str, ...]],
) -> str:
    """Run a tool on the same program with each environment; return both outputs."""
    said = []
    for number, one in enumerate(pair):
        place = folder / str(number)
        place.mkdir()
        (place / "program.py").write_text(PROGRAM)
        done = run(*command(one, str(place)), cwd=str(place))
        said.append(done.stdout.replace(str(place), "PLACE"))
        assert done.stderr == ""
    assert said[0] == said[1]
    return said[0]


def test_mypy(pair: tuple[Environment, Environment], tmp_path: Path) -> None:
    def command(one: Environment, place: str) -> tuple[str, ...]:
        options = ("--python-executable", one.python, "--cache-dir", f"{place}/cache")
        return (sys.executable, "-m", "mypy", *options, "program.py")

    said = checked_by(pair, tmp_path, command)
    assert "no_such_name" in said
    assert "import-not-found" not in said


def test_pyright(pair: tuple[Environment, Environment], tmp_path: Path) -> None:
    """As Pylance finds packages: by the interpreter that the user chose."""
    pyright = find_tool("pyright")

    def command(one: Environment, place: str) -> tuple[str, ...]:
        return (pyright, "--pythonpath", one.python, f"{place}/program.py")

    said = re.sub(r"\d+(\.\d+)? ?m?s(ec)?\b", "", checked_by(pair, tmp_path, command))
    assert '"no_such_name" is not a known attribute of module "attr"' in said
    assert "reportMissingImports" not in said
    assert 'Type of "click.Command("x").name" is "str | None"' in said


def test_pyright_by_its_settings(pair: tuple[Environment, Environment], tmp_path: Path) -> None:
    """With venvPath and venv it reads ``.pth`` files itself."""
    pyright = find_tool("pyright")

    def command(one: Environment, place: str) -> tuple[str, ...]:
        above, name = os.path.split(one.path)
        with open(f"{place}/pyrightconfig.json", "w", encoding="utf-8") as stream:
            json.dump({"venvPath": above, "venv": name, "include": ["program.py"]}, stream)
        return (pyright, "--project", place)

    said = checked_by(pair, tmp_path, command)
    assert "reportMissingImports" not in said
    assert '"no_such_name"' in said


JEDI = """\
import jedi, sys
environment = jedi.create_environment(sys.argv[1], safe=False)
script = jedi.Script("import click, rich.console\\nclick.Comm", environment=environment)
print([name.full_name for name in script.complete(2, 10)])
script = jedi.Script("from rich.console import Console\\nConsole", environment=environment)
(found,) = script.goto(2, 3, follow_imports=True)
print(found.full_name, found.line, open(found.module_path).read().count("\\n"))
print([(s.name, [p.name for p in s.params]) for s in jedi.Script(
    "import attr\\nattr.evolve(", environment=environment).get_signatures(2, 12)])
"""


def test_jedi(pair: tuple[Environment, Environment], tmp_path: Path) -> None:
    """Completion, definition and signature, as editors ask for them."""
    said = checked_by(pair, tmp_path, lambda one, _: (sys.executable, "-c", JEDI, one.path))
    assert "click.core.Command" in said or "click.Command" in said
    assert "rich.console.Console" in said
    assert "evolve" in said
