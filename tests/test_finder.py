"""A finder environment is an ordinary one to everybody who imports (D8)."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.installers import find_version
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import assert_kept, snapshot
from support.store import damage
from support.synthetic import Environment, Files, install, make_environment, package, write
from support.tools import VERSIONS, interpreter, pypy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEGACY = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"

DISTRIBUTIONS: dict[str, Files] = {
    "alpha==1.0": package("alpha"),
    "single==2.0": {
        "single.py": b"import sys\nVALUE = 2\nif __name__ == '__main__': print('ran', len(sys.argv))\n"
    },
    "space-one==1": {
        "space/one/__init__.py": b"NAME = 'one'\n",
        "space/deep/left.py": b"",
        "space/plain.py": b"",
    },
    "space-two==1": {
        "space/two/__init__.py": b"from space.one import NAME\n",
        "space/deep/right.py": b"X = 1\n",
    },
    "legacy-one==1": {"legacy/__init__.py": LEGACY, "legacy/one.py": b"X = 1\n"},
    "legacy-two==1": {"legacy/__init__.py": LEGACY, "legacy/two.py": b"X = 2\n"},
    "whole==1": {"mono/__init__.py": b"", "mono/core.py": b"X = 1\n"},
    "plug==1": {"mono/plugins/extra.py": b"from mono.core import X\n"},
    "starter==1": {
        "starter.pth": b"import starter_boot\n",
        "starter_boot.py": b"import sys\nsys.started = 1\n",
    },
    "folders==1": {"folders.pth": b"more_folders\n", "more_folders/inner.py": b"X = 1\n"},
    "old-ns==1": {
        "old_ns-1-py3.9-nspkg.pth": b"import sys\n",
        "oldspace/thing.py": b"X = 1\n",
    },
    "main==1": {"runs/__init__.py": b"", "runs/__main__.py": b"import sys; print('ran', __package__)\n"},
    "both==1": {"both.py": b"X = 'module'\n", "both/__init__.py": b"X = 'package'\n"},
    "data-only==1": {"datadir/table.csv": b"1,2\n", "py-data/x.txt": b"x\n"},
    "broken==1": {"broken/__init__.py": b"import not_installed_anywhere\n", "broken/syntax.py": b"def (:\n"},
    "tool==3": {
        "tool/__init__.py": b"def main(): print('tool runs')\n",
        "tool-3.dist-info/entry_points.txt": b"[console_scripts]\ntool = tool:main\n[plugs]\na = tool:main\n",
        "tool-3.dist-info/LICENSE": b"free\n",
        "tool-3.dist-info/top_level.txt": b"tool\n",
        "tool/classes.py": b"class Thing:\n    value = 7\n\ndef double(x):\n    return 2 * x\n",
    },
}
REAL = {"legacy", "mono", "more_folders", "folders.pth", "starter.pth"}
"""What has to stay in site-packages: shared folders with __init__, and path files."""
_NAMES = """
alpha alpha.sub alpha.module_1 alpha.sub.module_0 alpha.nothing single space space.one space.two space.deep
space.deep.left space.deep.right space.plain space.nothing legacy legacy.one legacy.two mono mono.core
mono.plugins mono.plugins.extra starter_boot inner more_folders oldspace oldspace.thing runs runs.__main__
both datadir broken broken.syntax tool tool.classes nothing_at_all
"""
NAMES = _NAMES.split()


def fill(environment: Environment) -> None:
    for spec, files in DISTRIBUTIONS.items():
        install(environment, spec, files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The same distributions in an ordinary environment and in one with the finder."""

    flat: Environment
    finder: Environment
    pipm: Pipm


def make_pair(folder: str, python: str = "") -> Pair:
    if python:
        environments = []
        for name in ("flat", "finder"):
            check(python, "-m", "venv", "--without-pip", f"{folder}/{name}")
            environments.append(find_version(f"{folder}/{name}"))
        flat, finder = environments
    else:
        flat, finder = (make_environment(f"{folder}/{name}") for name in ("flat", "finder"))
    for environment in (flat, finder):
        fill(environment)
    pipm = Pipm(store=f"{folder}/store")
    assert pipm.adopt(finder.path, mode="finder").environment["link_mode"] == "finder"
    return Pair(flat=flat, finder=finder, pipm=pipm)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(str(tmp_path_factory.mktemp("finder")))


def modules_in(environment: Environment) -> set[str]:
    return {name for name in os.listdir(environment.site) if not name.endswith((".dist-info", "__pycache__"))}


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


def test_adopt_then_release_is_as_before(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    fill(environment)
    run(environment.python, "-m", "compileall", "-q", environment.site)  # one source is broken
    before = snapshot(environment.path)
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm.adopt(environment.path, mode="finder")
    assert pipm("release", environment.path, "-n", "--json").expect().environment["files_released"] > 50
    pipm.release(environment.path)
    assert_kept(before, environment.path)
    assert not os.path.exists(f"{environment.path}/.pipm")
    assert "000_pipm.pth" not in os.listdir(environment.site)
    assert pipm("list", "--json").expect().json["environments"] == []
    assert "tool runs" in environment.run("import tool, space.two; tool.main()")


def test_one_distribution_is_released(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    pair.pipm.release("--dist", "tool", pair.finder.path)
    assert os.path.isfile(pair.finder.file("tool/__init__.py"))
    assert not os.path.islink(pair.finder.file("tool/__init__.py"))
    write(pair.finder.file("tool/__init__.py"), b"def main(): print('patched')\n")
    assert pair.finder.run("import tool, alpha, space.one; tool.main()") == "patched\n"
    again = pair.pipm.adopt(pair.finder.path, codes=(0, 3)).environment
    assert again["link_mode"] == "finder"
    assert pair.finder.run("import tool, alpha, space.one; tool.main()") == "patched\n"


def test_a_second_adopt_keeps_all(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    install(pair.flat, "later==1", {"later/__init__.py": b"X = 1\n"})
    install(pair.finder, "later==1", {"later/__init__.py": b"X = 1\n"})
    pair.pipm.adopt(pair.finder.path)
    assert "later" not in modules_in(pair.finder)
    one, other = (answers_of(e, [*NAMES, "later"]) for e in (pair.flat, pair.finder))
    assert differences(one, other) == {}
    pair.pipm("gc", "--keep", "0s").expect()
    assert differences(one, answers_of(pair.finder, [*NAMES, "later"])) == {}


def test_what_comes_later_may_need_folders_of_what_is_folded(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    for environment in (pair.flat, pair.finder):
        install(environment, "alpha-plug==1", {"alpha/plugged.py": b"X = 1\n"})
    pair.pipm.adopt(pair.finder.path)
    one, other = (answers_of(e, [*NAMES, "alpha.plugged"]) for e in (pair.flat, pair.finder))
    assert other["import alpha.plugged"][0] == "alpha.plugged"
    assert differences(one, other) == {}


def uninstall(environment: Environment) -> None:
    shutil.rmtree(environment.file("tool-3.dist-info"))


def upgrade(environment: Environment) -> None:
    shutil.rmtree(environment.file("tool-3.dist-info"))
    install(environment, "tool==4", {"tool/__init__.py": b"def main(): print('four')\n"})


def reinstall(environment: Environment) -> None:
    install(
        environment,
        "tool==3",
        {**DISTRIBUTIONS["tool==3"], "tool/__init__.py": b"def main(): print('new')\n"},
    )


@pytest.mark.parametrize("change", [uninstall, upgrade, reinstall])
def test_what_installers_do_afterwards_counts(tmp_path: Path, change: Callable[[Environment], None]) -> None:
    pair = make_pair(str(tmp_path))
    change(pair.finder)
    if change in (uninstall, upgrade):
        shutil.rmtree(pair.flat.file("tool"))
    change(pair.flat)
    for _ in range(2):
        one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
        assert differences(one, other) == {}
        pair.pipm.adopt(pair.finder.path)


def test_a_moved_environment_and_a_copied_one(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    one = answers_of(pair.flat, NAMES)
    copy = Environment(path=str(tmp_path / "copy"))
    shutil.copytree(pair.finder.path, copy.path, symlinks=True)
    moved = Environment(path=str(tmp_path / "other/moved"))
    os.makedirs(tmp_path / "other")
    os.rename(pair.finder.path, moved.path)
    for environment in (copy, moved):
        assert differences(one, answers_of(environment, NAMES)) == {}
    known = {row["path"] for row in pair.pipm("list", "--json").expect().json["environments"]}
    assert {copy.path, moved.path} <= known
    shutil.rmtree(copy.path)
    pair.pipm("gc", "--keep", "0s").expect()
    assert differences(one, answers_of(moved, NAMES)) == {}


def test_a_moved_store_is_found_by_the_variable(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    one = answers_of(pair.flat, NAMES)
    other = str(tmp_path / "elsewhere")
    os.rename(pair.pipm.store, other)
    done = run(pair.finder.python, "-c", "import tool")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    for word in (pair.pipm.store, "PIPM_STORE", "tool 3"):
        assert word in done.stderr
    # What has to lie in site-packages is there by symlinks, which lead to where the store was.
    names = [name for name in NAMES if name.partition(".")[0] in ("alpha", "single", "space", "tool")]
    found = answers_of(pair.finder, names, environ={"PIPM_STORE": other})
    assert {name: found[f"import {name}"] for name in names} == {
        name: one[f"import {name}"] for name in names
    }


def test_a_missing_entry_is_explained(tmp_path: Path) -> None:
    pair = make_pair(str(tmp_path))
    shutil.rmtree(f"{pair.pipm.store}/v1/wheels/tool")
    done = run(pair.finder.python, "-c", "import alpha, tool")
    assert "ImportError: tool 3 is no longer in pipm's store" in done.stderr
    assert "pip install --force-reinstall" in done.stderr


def test_a_file_of_ones_own_keeps_its_distribution(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    fill(environment)
    write(environment.file("alpha/plugin_of_mine.py"), b"X = 5\n")
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm.adopt(environment.path, mode="finder")
    assert environment.run("import alpha.plugin_of_mine as p, tool; print(p.X)") == "5\n"
    assert os.path.islink(environment.file("alpha/module_1.py"))


def test_another_link_mode_wants_a_release_first(pair: Pair) -> None:
    result = pair.pipm("adopt", pair.finder.path, "--link-mode", "hardlink", "--json")
    assert result.code == 2
    assert "pipm release" in result.error["hint"]


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
