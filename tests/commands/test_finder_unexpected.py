"""Programs write files to the store without the finder: no harm; verify finds them, gc removes them."""

from __future__ import annotations

import glob
import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.imports import answers_of, differences
from support.pairs import NAMES, make_pair
from support.process import check, run
from support.snapshot import snapshot
from support.store import damage
from support.synthetic import write
from support.tools import VERSIONS, find_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.pairs import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(str(tmp_path))


def stored(pair: Pair, name: str, path: str) -> str:
    (found,) = glob.glob(f"{pair.pipm.store}/v1/wheels/{name}/*/*/site/{path}")
    return found


def without_the_finder(pair: Pair) -> None:
    code = (
        "import os, subprocess, sys\n"
        "environ = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))\n"
        "command = [sys.executable, '-S', '-O', '-c', 'import tool.classes, alpha.module_1']\n"
        "subprocess.run(command, env=environ, check=True)\n"
    )
    pair.finder.run(code)


def another_interpreter(pair: Pair) -> None:
    own = "{}.{}".format(*sys.version_info)
    others = (find_interpreter(version) for version in VERSIONS if version != own)
    other = next(filter(None, others), None)
    if other is None:
        pytest.skip("one interpreter only")
    folder = os.path.dirname(stored(pair, "alpha", "alpha"))
    check(other, "-c", "import alpha.module_1", environ={"PYTHONPATH": folder})


def optimised(pair: Pair) -> None:
    check(pair.flat.python, "-OO", "-m", "compileall", "-q", "-f", stored(pair, "alpha", "alpha"))


def anew(pair: Pair) -> None:
    check(pair.flat.python, "-m", "compileall", "-q", "-f", stored(pair, "tool", "tool"))


def rewritten(pair: Pair) -> None:
    """pytest rewrites modules, and keeps them beside their sources."""
    write(f"{stored(pair, 'main', 'runs')}/__pycache__/__main__.cpython-312-pytest-8.4.pyc", b"x")
    check(pair.flat.python, stored(pair, "single", "single.py"))


def spoiled(pair: Pair) -> None:
    """A header that fits its source, and other code: what a broken tool might write."""
    source = stored(pair, "single", "single.py")
    code = (
        "import importlib.util, marshal, os, struct, sys\n"
        "source, cached = sys.argv[1], importlib.util.cache_from_source(sys.argv[1])\n"
        "status = os.stat(source)\n"
        "head = importlib.util.MAGIC_NUMBER + struct.pack('<III', 0, int(status.st_mtime), status.st_size)\n"
        "os.makedirs(os.path.dirname(cached), exist_ok=True)\n"
        "if os.path.exists(cached): os.unlink(cached)\n"
        "with open(cached, 'wb') as f: f.write(head + marshal.dumps(compile('VALUE = 99', source, 'exec')))\n"
    )
    check(pair.flat.python, "-c", code, source)


@pytest.mark.parametrize(
    "leave", [without_the_finder, another_interpreter, optimised, anew, rewritten, spoiled]
)
def test_caches(pair: Pair, leave: Callable[[Pair], None]) -> None:
    clean = snapshot(f"{pair.pipm.store}/v1/wheels")
    leave(pair)
    left = snapshot(f"{pair.pipm.store}/v1/wheels")
    assert left != clean
    for options in ((), ("-O",)):
        one, other = (answers_of(e, NAMES, *options) for e in (pair.flat, pair.finder))
        assert differences(one, other) == {}
    assert pair.finder.run("import single; print(single.VALUE)") == "2\n"
    found = pair.pipm("verify", "--json").expect().json
    assert found["unexpected"]
    assert found["damaged"] == []
    assert "pipm gc" in pair.pipm("verify").expect().err
    pair.pipm("gc").expect()
    assert snapshot(f"{pair.pipm.store}/v1/wheels").items() <= clean.items()
    assert pair.pipm("verify", "--json").expect().json["unexpected"] == []
    assert damage(pair.pipm.store) == []
    one, other = (answers_of(e, NAMES) for e in (pair.flat, pair.finder))
    assert differences(one, other) == {}


def test_a_strange_module_is_damage(pair: Pair) -> None:
    package = stored(pair, "alpha", "alpha")
    write(f"{package}/settings.py", b"X = 'for everybody'\n")
    found = pair.pipm("verify", "--json")
    found.expect(1)
    (row,) = found.json["damaged"]
    assert (row["path"], row["flaw"]) == ("site/alpha/settings.py", "is not of its wheel")
    assert row["environments"] == [pair.finder.path]
    (row,) = pair.pipm("verify", "--repair", "--json").expect().json["damaged"]
    with open(row["saved"], "rb") as file:
        assert file.read() == b"X = 'for everybody'\n"
    assert "No module named" in run(pair.finder.python, "-c", "import alpha.settings").stderr
    pair.pipm("verify").expect()
