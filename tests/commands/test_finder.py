"""Every program that imports can use a finder environment like an ordinary one."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.pairs import DISTRIBUTIONS, NAMES, PATH_FILES, REAL, Pair, make_pair, modules_in
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import assert_kept, snapshot
from support.store import damage
from support.synthetic import install, make_environment, package, write
from support.tools import VERSIONS, interpreter, pypy

if TYPE_CHECKING:
    from pathlib import Path

    from support.synthetic import Environment


TOP_LEVEL = """\
import importlib.metadata as m
one = m.distribution("dist-7")
print(one.read_text("top_level.txt"), one.read_text("licenses/LICENSE"))
"""


def walk_paths(folder: str) -> list[str]:
    return [os.path.join(above, name) for above, *names in os.walk(folder) for name in [*names[0], *names[1]]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(str(tmp_path_factory.mktemp("finder")))


def test_only_what_must_lie_together_stays(pair: Pair) -> None:
    assert modules_in(pair.finder) == REAL | PATH_FILES
    links = [f for f in os.listdir(pair.finder.file("mono")) if os.path.islink(pair.finder.file(f"mono/{f}"))]
    assert links == ["core.py"]
    infos = [name for name in os.listdir(pair.finder.site) if name.endswith(".dist-info")]
    assert len(infos) == len(DISTRIBUTIONS)
    assert not any(os.path.islink(pair.finder.file(f"{name}/METADATA")) for name in infos if "tool" in name)


def test_few_inodes(tmp_path: Path) -> None:
    """At most five a distribution besides scripts and data; released, each file is one's own again."""
    environment = make_environment(str(tmp_path / "env"))
    licence = {"licenses/LICENSE": b"free\n", "licenses/vendored/deep/LICENSE": b"as well\n"}
    for number in range(40):
        info = f"dist_{number}-1.dist-info"
        extra = {f"{info}/{name}": data for name, data in licence.items()}
        extra[f"{info}/top_level.txt"] = f"dist_{number}\n".encode()
        extra[f"{info}/entry_points.txt"] = b"[plugs]\na = b:c\n"
        install(environment, f"dist-{number}==1", package(f"dist_{number}") | extra)
        write(environment.file(f"{info}/REQUESTED"), b"")
    environment.compile()
    before = snapshot(environment.path)
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm.adopt(environment.path, mode="finder")
    inodes = {os.lstat(path).st_ino for path in walk_paths(environment.path)}
    assert len(inodes) < 5 * 40 + 30
    assert environment.run(TOP_LEVEL) == "dist_7\n free\n\n"
    pipm.adopt(environment.path)
    assert len({os.lstat(path).st_ino for path in walk_paths(environment.path)}) == len(inodes)
    pipm.release(environment.path)
    assert_kept(before, environment.path)
    files = [
        path for path in walk_paths(environment.path) if os.path.isfile(path) and not os.path.islink(path)
    ]
    assert {os.stat(path).st_nlink for path in files} == {1}


@pytest.mark.parametrize("options", [(), ("-I",), ("-O",), ("-s",), ("-E",), ("-B",)], ids=str)
def test_imports_and_metadata_are_the_same(pair: Pair, options: tuple[str, ...]) -> None:
    one, other = (answers_of(e, NAMES, *options) for e in (pair.flat, pair.finder))
    assert other["import alpha"][0] == "alpha"
    assert other["path kept"]
    assert differences(one, other) == {}


CHILD = """\
import subprocess, sys, os
environ = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
code = "import tool, space.two; tool.main()"
print(subprocess.check_output([sys.executable, *sys.argv[1:], "-c", code], env=environ))
"""
RESOLVED = """\
import os, sys
sys.path[:] = map(os.path.realpath, sys.path)
sys.path_importer_cache.clear()
import tool; tool.main()
"""
FOUND = """\
import modulefinder
finder = modulefinder.ModuleFinder()
finder.run_script("{work}/uses/main.py")
print(sorted(name for name in finder.modules if name.split(".")[0] in ("tool", "alpha", "single")))
"""
GROWN = """\
import space.one, sys
sys.path.append("{work}/local")
import space.mine, space.two; print(space.mine.X)
"""
PROGRAMS: dict[str, tuple[str, ...]] = {
    "script's folder first": ("{work}/shadow/main.py",),
    "run a module": ("-m", "single", "x"),
    "run a package": ("-m", "runs"),
    "runpy": ("-c", "import runpy; print(runpy.run_module('single')['VALUE'])"),
    "data folder does not hide a package": ("{work}/data/main.py",),
    "namespace with a folder of one's own": ("{work}/local/main.py",),
    "namespace grows": ("-c", GROWN),
    "multiprocessing": ("{work}/pool/main.py",),
    "reload": ("-c", "import importlib as i, single; i.invalidate_caches(); print(i.reload(single).VALUE)"),
    "caches gone": ("-c", "import sys; sys.path_importer_cache.clear(); import tool, space.two; tool.main()"),
    "resolved path": ("-c", RESOLVED),
    "existing folders only": ("-c", RESOLVED.replace("map(os.path.realpath", "filter(os.path.isdir")),
    "source": ("-c", "import inspect, single; print(inspect.getsource(single))"),
    "traceback": ("-c", "import broken"),
    "missing": ("-c", "import nothing_at_all"),
    "data": ("-c", "import pkgutil; print(len(pkgutil.get_data('alpha', 'data/table.bin')))"),
    "pickle": ("-c", "import pickle, tool.classes as c; print(pickle.loads(pickle.dumps(c.Thing())).value)"),
    "child": ("-c", CHILD),
    "child without site": ("-c", CHILD, "-S"),
    "child in isolation": ("-c", CHILD, "-I"),
    "without site": ("-S", "-c", "import tool"),
    "started": ("-c", "import sys; print(sys.started)"),
    "stdlib wins": ("-c", "import json; print(json.__name__)"),
    "modulefinder": ("-c", FOUND),
    "compileall": ("-c", "import compileall, single; print(compileall.compile_file(single.__file__) != 0)"),
    "zipapp": ("{work}/app.pyz",),
}


def programs(folder: str) -> None:
    for path, text in {
        "shadow/single.py": "VALUE = 'local'\n",
        "shadow/main.py": "import single; print(single.VALUE)\n",
        "data/alpha/rows.csv": "1\n",
        "data/main.py": "import alpha; print(alpha.NAME)\n",
        "local/space/mine.py": "X = 'mine'\n",
        "local/main.py": "import space.mine, space.one, space.two; print(space.mine.X, space.two.NAME)\n",
        "uses/main.py": "import tool, single, alpha.sub\n",
        "zip/__main__.py": "import tool; tool.main()\n",
        "pool/main.py": (
            "import multiprocessing, concurrent.futures as f, tool.classes as c\n"
            "if __name__ == '__main__':\n"
            "    with multiprocessing.get_context('spawn').Pool(1) as p: print(p.map(c.double, [1, 2]))\n"
            "    with f.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as p:\n"
            "        print(p.submit(c.double, 4).result())\n"
        ),
    }.items():
        write(f"{folder}/{path}", text.encode())
    shutil.make_archive(f"{folder}/app", "zip", f"{folder}/zip")
    os.rename(f"{folder}/app.zip", f"{folder}/app.pyz")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("programs"))
    programs(folder)
    return folder


def seen_by(environment: Environment, work: str, name: str) -> tuple[int, str, list[str]]:
    """Return the result of a program: exit code, output, and the last line of its errors."""
    command = [part.replace("{work}", work) for part in PROGRAMS[name]]
    done = run(environment.python, *command, cwd=work)
    error = done.stderr.strip().splitlines()[-1:]
    return done.returncode, done.stdout.replace(environment.path, "ENV"), error


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_do_the_same(pair: Pair, work: str, name: str) -> None:
    one, other = (seen_by(environment, work, name) for environment in (pair.flat, pair.finder))
    assert one == other
    if name not in ("traceback", "missing", "without site"):
        assert one[0] == 0, one
        assert one[1]


@pytest.mark.parametrize("version", [*VERSIONS, "pypy"])
def test_every_interpreter(tmp_path: Path, work: str, version: str) -> None:
    pair = make_pair(str(tmp_path), pypy()[0] if version == "pypy" else interpreter(version))
    for options in ((), ("-O",)):
        one, other = (answers_of(e, NAMES, *options) for e in (pair.flat, pair.finder))
        assert other["import space.deep.right"][0] == "space.deep.right"
        assert differences(one, other) == {}
    for name in PROGRAMS:
        assert seen_by(pair.flat, work, name) == seen_by(pair.finder, work, name), name
    pair.pipm("adopt", pair.finder.path, "--link-mode", "finder", "--no-dist-info").expect()
    one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
    assert set(differences(one, other)) == {"files", "contents"}  # RECORD and its kin are no files then


LAZY = """\
import sys
lazy import alpha.module_1, space.deep.right as right, legacy.two, nothing_at_all
lazy from tool.classes import double
lazy from space import one, plain
before = sorted({"alpha", "space.deep.right", "legacy.two", "tool"} & set(sys.modules))
print(before, double(4), alpha.module_1.__name__, right.X, legacy.two.X, one.NAME, plain.__name__)
try: nothing_at_all.x
except ImportError as error: print(error)
"""


@pytest.mark.parametrize("options", [(), ("-X", "lazy_imports=all")])
def test_lazy_imports(tmp_path: Path, options: tuple[str, ...]) -> None:
    """PEP 810, from Python 3.15 on."""
    pair = make_pair(str(tmp_path), interpreter("3.15"))
    flat, finder = (environment.run(LAZY, *options) for environment in (pair.flat, pair.finder))
    assert finder == flat
    assert flat.startswith("[] 8 alpha.module_1 1 2 one space.plain\n")


@pytest.mark.parametrize("variable", ["PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONOPTIMIZE"])
def test_variables_change_nothing(pair: Pair, variable: str) -> None:
    one, other = (answers_of(e, NAMES, environ={variable: "1"}) for e in (pair.flat, pair.finder))
    assert differences(one, other) == {}


def test_pythonpath_comes_first(pair: Pair, work: str) -> None:
    environ = {"PYTHONPATH": f"{work}/shadow:{work}/local"}
    code = "import single, space.mine, space.two; print(single.VALUE, space.mine.X, space.two.NAME)"
    seen = {check(e.python, "-c", code, environ=environ) for e in (pair.flat, pair.finder)}
    assert seen == {"local mine one\n"}


def test_importing_writes_nothing_into_the_store(pair: Pair) -> None:
    before = snapshot(pair.pipm.store)
    for options in ((), ("-O",), ("-OO",)):
        answers_of(pair.finder, NAMES, *options)
    assert snapshot(pair.pipm.store) == before
    assert damage(pair.pipm.store) == []


def test_bytecode_that_the_store_lacks_is_the_environments_own(pair: Pair) -> None:
    code = "import alpha.module_1 as m, os; print(os.path.exists(m.__spec__.cached))"
    pair.finder.run(code, "-O")
    found = [name for _, _, names in os.walk(f"{pair.finder.path}/.pipm/bytecode") for name in names]
    assert any(name.startswith("module_1.") and ".opt-1" in name for name in found)
    assert not any(".opt-" not in name and name.startswith("module_1.") for name in found)


def test_starting_reads_little(pair: Pair) -> None:
    """The hook imports nothing that a plain start has not loaded."""
    code = "import sys; print(' '.join(sorted(sys.modules)))"
    plain = set(check(pair.flat.python, "-I", "-c", code).split())
    hooked = set(check(pair.finder.python, "-I", "-c", code).split())
    assert hooked - plain <= {"_pipm_finder"}


def cpu_seconds(python: str) -> float:
    """What an interpreter that does nothing takes of the processor."""
    process = os.posix_spawn(python, [python, "-I", "-c", "pass"], {})
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.timing
def test_a_start_costs_little_with_160_distributions(tmp_path: Path) -> None:
    """Budget: 2 ms over a plain start of about 10 ms; less than half of it is seen on a quiet machine."""
    flat, finder = (make_environment(str(tmp_path / name)) for name in ("flat", "finder"))
    for environment in (flat, finder):
        for number in range(160):
            install(environment, f"dist-{number}==1", {f"dist_{number}/__init__.py": b"X = 1\n"})
    Pipm(store=str(tmp_path / "store")).adopt(finder.path, mode="finder")
    pairs = [(cpu_seconds(flat.python), cpu_seconds(finder.python)) for _ in range(25)]
    plain, hooked = (min(column) for column in zip(*pairs, strict=True))
    assert hooked - plain <= 0.2 * plain, (plain, hooked)
    assert finder.run("import dist_7, dist_150 as d; print(d.X)") == "1\n"


def test_another_link_mode_wants_a_release_first(pair: Pair) -> None:
    result = pair.pipm("adopt", pair.finder.path, "--link-mode", "hardlink", "--json")
    assert result.code == 2
    assert "pipm release" in result.error["hint"]
