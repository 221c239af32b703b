"""Changes of a finder environment: released, adopted again, changed by installers, moved."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.locks import pylock
from support.pairs import DISTRIBUTIONS, NAMES, PATH_FILES, REAL, fill, make_pair, modules_in
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import assert_kept, snapshot
from support.synthetic import Environment, install, make_environment, make_wheel, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.disks import Disks


def test_adopt_then_release_is_as_before(tmp_path: Path) -> None:
    environment = make_environment(str(tmp_path / "env"))
    fill(environment)
    run(environment.python, "-m", "compileall", "-q", environment.site)  # one source is broken
    before = snapshot(environment.path)
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm.adopt(environment.path, mode="finder")
    assert modules_in(environment) == REAL | PATH_FILES  # no bytecode is left behind either
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


def test_a_start_file_starts_it_as_well(tmp_path: Path) -> None:
    """The start file of Python 3.18 and later (PEP 829), alone or beside the import line: all is the same."""
    pair = make_pair(str(tmp_path))
    state = "import sys; print(sys.path, len(sys.meta_path), len(sys.path_hooks))"
    start = "import pkgutil; pkgutil.resolve_name('_pipm_finder:start')()"
    before = pair.finder.run(state)
    assert pair.finder.run(f"{start}\n{state}") == before
    with open(pair.finder.file("000_pipm.pth"), "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(text.splitlines()[0] + "\n")
        file.truncate()
    assert pair.finder.run(state) != before  # the lines alone
    assert pair.finder.run(f"{start}\n{state}") == before
    if sys.version_info >= (3, 15):
        write(pair.finder.file("000_pipm_boot.start"), b"_pipm_finder:start\n")
    else:  # Python reads no start files yet
        guarded = f"try:\n {start}\nexcept ImportError: pass\n"
        for environment in (pair.flat, pair.finder):
            write(environment.file("zz_start.pth"), f"import sys; exec({guarded!r})\n".encode())
    one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
    assert differences(one, other) == {}


@pytest.mark.mounts
def test_a_read_only_store_and_environment(tmp_path: Path, disks: Disks) -> None:
    """As in an image: nothing can be written, not even bytecode or where the environment is now."""
    with disks.small("ext4", size="64M", name="image") as disk:
        pair = make_pair(disk.path)
        one = answers_of(pair.flat, NAMES, "-O")
        moved = Environment(path=disk / "moved")
        os.rename(pair.finder.path, moved.path)
        check("mount", "-o", "remount,ro", disk.path)
        for _ in range(2):
            assert differences(one, answers_of(moved, NAMES, "-O", cwd=str(tmp_path))) == {}
        check("mount", "-o", "remount,rw", disk.path)


def test_what_a_layer_has(tmp_path: Path) -> None:
    """A site-wide store gives its entries to the own one, from which the finder serves them."""
    wheels = [
        make_wheel(str(tmp_path / "wheels"), spec, DISTRIBUTIONS[spec]) for spec in ("tool==3", "single==2.0")
    ]
    lock = pylock(str(tmp_path), wheels)
    layer = Pipm(store=str(tmp_path / "layer"))
    for wheel in wheels:
        layer("store", "add", wheel).expect()
        os.unlink(wheel)
    before = snapshot(layer.store)
    pipm = Pipm(store=str(tmp_path / "store"), environ={"PIPM_STORE_LAYERS": layer.store})
    made = Environment(path=str(tmp_path / "env"))
    done = pipm("sync", lock, "--env", made.path, "--link-mode", "finder", "--json").expect().json
    assert (done["link_mode"], done["fetched"]) == ("finder", 0)
    assert "tool runs" in made.run("import tool, single; tool.main()")
    assert snapshot(layer.store) == before


def test_modules_look_like_a_librarys(tmp_path: Path) -> None:
    """Debuggers, streamlit and error trackers recognise libraries by the folder's name."""
    pair = make_pair(str(tmp_path))
    code = (
        "import tool; print('/site-packages/tool/' in tool.__file__, tool.__file__.rpartition('/tool/')[0])"
    )
    library, entry = pair.finder.run(code).split()
    assert library == "True"
    assert entry in pair.finder.run("import sys; print(*sys.path, sep='\\n')").splitlines()
    one = answers_of(pair.flat, NAMES)
    for folder in glob.glob(f"{pair.pipm.store}/v1/wheels/*/*/*/modules"):
        shutil.rmtree(folder)  # a store that was made anew from its trees lacks them
    assert differences(one, answers_of(pair.finder, NAMES)) == {}
    pair.pipm.adopt(pair.finder.path)
    assert pair.finder.run(code).split()[0] == "True"


WAITING = """\
import sys
try: import later
except ImportError: print("not yet", flush=True)
sys.stdin.readline()
import later, importlib.metadata as m
print(later.X, m.version("later"), any("later" in entry for entry in sys.path))
"""


def test_a_running_program_sees_what_comes(tmp_path: Path) -> None:
    """As in an ordinary environment, where FileFinder sees that site-packages changed."""
    pair = make_pair(str(tmp_path))
    command = [pair.finder.python, "-c", WAITING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "not yet\n"
        install(pair.finder, "later==1", {"later/__init__.py": b"X = 'came'\n"})
        pair.pipm.adopt(pair.finder.path)
        assert "later" not in modules_in(pair.finder)
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "came 1 True\n"
