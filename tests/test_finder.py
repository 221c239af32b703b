"""A finder environment is an ordinary one to everybody who imports (D8)."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.pairs import DISTRIBUTIONS, NAMES, REAL, Pair, make_pair, modules_in
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import snapshot
from support.store import damage
from support.synthetic import install, make_environment, write
from support.tools import VERSIONS, interpreter, pypy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(str(tmp_path_factory.mktemp("finder")))


def test_only_what_must_lie_together_stays(pair: Pair) -> None:
    assert modules_in(pair.finder) == REAL | {"000_pipm.pth"}
    links = [f for f in os.listdir(pair.finder.file("mono")) if os.path.islink(pair.finder.file(f"mono/{f}"))]
    assert links == ["core.py"]
    infos = [name for name in os.listdir(pair.finder.site) if name.endswith(".dist-info")]
    assert len(infos) == len(DISTRIBUTIONS)
    assert not any(os.path.islink(pair.finder.file(f"{name}/METADATA")) for name in infos if "tool" in name)


@pytest.mark.parametrize("options", [(), ("-I",), ("-O",), ("-s",), ("-E",), ("-B",)], ids=str)
def test_imports_and_metadata_are_the_same(pair: Pair, options: tuple[str, ...]) -> None:
    one, other = (answers_of(e, NAMES, *options) for e in (pair.flat, pair.finder))
    assert other["import alpha"][0] == "alpha"
    assert other["path kept"]
    assert differences(one, other) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_cpython(tmp_path: Path, version: str) -> None:
    pair = make_pair(str(tmp_path), interpreter(version))
    one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
    assert other["import space.deep.right"][0] == "space.deep.right"
    assert differences(one, other) == {}


def test_pypy(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path), pypy()[0])
    one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
    assert other["import space.deep.right"][0] == "space.deep.right"
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


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_do_the_same(pair: Pair, work: str, name: str) -> None:
    seen = []
    for environment in (pair.flat, pair.finder):
        command = [part.replace("{work}", work) for part in PROGRAMS[name]]
        done = run(environment.python, *command, cwd=work)
        error = done.stderr.strip().splitlines()[-1:]
        seen.append((done.returncode, done.stdout.replace(environment.path, "ENV"), error))
    assert seen[0] == seen[1]
    if name not in ("traceback", "missing", "without site"):
        assert seen[0][0] == 0, seen[0]
        assert seen[0][1]


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
    code = "import alpha.module_1 as m, os; print(os.path.exists(m.__cached__))"
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


def test_a_start_costs_little_with_160_distributions(tmp_path: Path) -> None:
    """Budget: 2 ms over a plain start of about 10 ms; twice that here, for machines with other work to do."""
    flat, finder = (make_environment(str(tmp_path / name)) for name in ("flat", "finder"))
    for environment in (flat, finder):
        for number in range(160):
            install(environment, f"dist-{number}==1", {f"dist_{number}/__init__.py": b"X = 1\n"})
    Pipm(store=str(tmp_path / "store")).adopt(finder.path, mode="finder")
    pairs = [(cpu_seconds(flat.python), cpu_seconds(finder.python)) for _ in range(25)]
    plain, hooked = (min(column) for column in zip(*pairs, strict=True))
    assert hooked - plain <= 0.4 * plain, (plain, hooked)
    assert finder.run("import dist_7, dist_150 as d; print(d.X)") == "1\n"


def test_many_lines_are_split_over_files() -> None:
    """pyright passes over path files of 64 KiB and more."""
    from dedupe.finder.table import Table  # noqa: PLC0415 - black boxes elsewhere

    entries = [f"{'long-' * 20}{number}/1/py3-none-any-00000000" for number in range(900)]
    table = Table(
        environment="/e",
        store="/s",
        site="lib/python3.12/site-packages",
        site_time=0,
        entries=entries,
        modules={},
        infos={},
        mend="",
    )
    files = dict(table.path_files(".pipm/finder"))
    assert len(files) > 1
    assert min(files) == "000_pipm.pth"
    assert all(len(data) < 64 << 10 for data in files.values())
    lines = b"".join(files.values()).decode().splitlines()
    assert [line for line in lines if line.startswith("/s/")] == [f"/s/v1/wheels/{e}/site" for e in entries]


def test_another_link_mode_wants_a_release_first(pair: Pair) -> None:
    result = pair.pipm("adopt", pair.finder.path, "--link-mode", "hardlink", "--json")
    assert result.code == 2
    assert "pipm release" in result.error["hint"]
