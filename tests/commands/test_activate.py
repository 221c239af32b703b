"""`pipm.activate` and `pipm.interactive` in a running interpreter."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.process import interpreter_for, run
from support.runs import environments, make_runner, publish
from support.synthetic import Environment

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from support.pipm import Pipm


@pytest.fixture
def folder(tmp_path: Path) -> str:
    pylock(f"{tmp_path}/one", [publish(str(tmp_path), "tool==1"), publish(str(tmp_path), "leaf==1")])
    pylock(f"{tmp_path}/two", [publish(str(tmp_path), "tool==2")])
    return str(tmp_path)


@pytest.fixture
def pipm(folder: str) -> Pipm:
    return make_runner(folder)


def python(pipm: Pipm, code: str, *options: str, program: str = "") -> subprocess.CompletedProcess[str]:
    """Run *code* in an interpreter that has pipm, with the test's store and cache."""
    own, variables = interpreter_for(None)
    environ = variables | dict(pipm.environ) | {"PIPM_STORE": pipm.store}
    return run(program or own, *options, "-c", code, cwd=pipm.cwd, environ=environ)


def told(pipm: Pipm, code: str, program: str = "") -> str:
    done = python(pipm, code, program=program)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_project_is_importable_then(folder: str, pipm: Pipm) -> None:
    code = """
import sys, pipm, importlib.metadata as m
found = pipm.activate('one')
import tool, leaf
print(tool.VERSION, leaf.VERSION, m.version('leaf'), found.conflicts, found.source)
print([f for f in m.files('tool') if not f.locate().exists()])
before = list(sys.path), list(sys.meta_path), list(sys.path_hooks)
assert pipm.activate('one/pylock.toml') == found
print(before == (sys.path, sys.meta_path, sys.path_hooks))
# The standard library and the program's own folder come first, what was installed beside pipm later.
at = sys.path.index(found.environment + '/.pipm/index')
print(all('site-packages' not in entry for entry in sys.path[: at - 1]), sys.path[0] == '')
"""
    lock = os.path.realpath(f"{folder}/one/pylock.toml")
    assert told(pipm, code) == f"1 1 1 () {lock}\n[]\nTrue\nTrue True\n"
    assert len(environments(folder)) == 1


def test_what_is_imported_already_is_said(pipm: Pipm) -> None:
    code = "import pipm; pipm.activate('one'); import tool, leaf; found = pipm.activate('two')\n"
    done = python(pipm, code + "print(tool.VERSION, [one.module for one in found.conflicts])")
    assert done.stdout == "1 ['tool']\n"
    (text, *_) = done.stderr.splitlines()
    assert text.startswith("<string>:1: LoadedVersionWarning: tool 1 is imported already, ")
    assert text.endswith("pylock.toml has 2: restart the interpreter (kernel) first")
    # What was not imported yet comes from what was activated last.
    code = "import pipm; pipm.activate('one'); pipm.activate('two'); import tool, leaf\n"
    assert told(pipm, code + "print(tool.VERSION, leaf.VERSION)") == "2 1\n"
    code = "import pipm; pipm.activate('two'); pipm.activate('one'); import tool, leaf\n"
    assert told(pipm, code + "print(tool.VERSION, leaf.VERSION)") == "1 1\n"


def test_requirements_are_resolved(folder: str, pipm: Pipm) -> None:
    publish(folder, "top==1", "leaf")
    code = "import pipm; pipm.interactive('top', 'tool<2'); import top, leaf, tool; print(tool.VERSION)"
    assert told(pipm, code) == "1\n"
    os.rename(f"{folder}/index", f"{folder}/gone")
    assert told(pipm, code) == "1\n"


def test_in_a_finder_environment_and_of_one(folder: str, pipm: Pipm) -> None:
    pipm("sync", "one/pylock.toml", "--env", "env", "--link-mode", "finder").expect()
    environment = Environment(path=os.path.realpath(f"{folder}/env"))
    code = """
import pipm, importlib.metadata as m
pipm.activate('two')
import tool, leaf
print(tool.VERSION, leaf.VERSION, m.version('tool'), m.version('leaf'))
print([f for n in ('tool', 'leaf') for f in m.files(n) if not f.locate().exists()])
"""
    libraries = os.pathsep.join(entry for entry in sys.path if entry.endswith("site-packages"))
    _, variables = interpreter_for(None)
    environ = dict(pipm.environ) | {"PIPM_STORE": pipm.store}
    environ["PYTHONPATH"] = f"{variables['PYTHONPATH']}{os.pathsep}{libraries}"
    done = run(environment.python, "-c", code, cwd=folder, environ=environ)
    assert (done.stdout, done.stderr) == ("2 1 2 1\n[]\n", "")
    code = "import pipm; pipm.activate('env'); import tool; print(tool.VERSION, tool.__file__)"
    assert told(pipm, code).startswith(f"1 {pipm.store}/v1/wheels/tool/1/")
    os.makedirs(f"{folder}/data/pipm-environments")
    os.rename(f"{folder}/env", f"{folder}/data/pipm-environments/shared")
    assert told(pipm, code.replace("'env'", "'@shared'")).startswith("1 ")


def test_errors_name_what_helps(folder: str, pipm: Pipm) -> None:
    os.makedirs(f"{folder}/one/env")
    with open(f"{folder}/one/env/pyvenv.cfg", "w", encoding="utf-8") as stream:
        stream.write("version = 3.5.1\n")
    os.makedirs(f"{folder}/one/env/lib/python3.5/site-packages")
    for call, words in (
        ("activate('nowhere')", "There is no nowhere"),
        ("activate()", "no lock file"),
        ("activate('one/env')", "is for Python 3.5.1"),
        ("activate('@nobody')", "There is no @nobody"),
        ("interactive()", "Nothing to activate"),
        ("interactive('tool>>1')", "is not a valid requirement"),
        ("interactive('no-such-thing')", "no-such-thing"),
    ):
        done = python(pipm, f"import pipm; pipm.{call}")
        assert done.returncode == 1
        error, *rest = done.stderr.splitlines()[-2:]
        assert words in error, done.stderr
        assert rest[0].startswith("hint: "), done.stderr
