"""Bytecode is shared and valid, and tracebacks name the right file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from support.installers import copy_environment
from support.pipm import Pipm
from support.process import check, run
from support.snapshot import (
    assert_bytecode_names_kept,
    assert_kept,
    bytecode,
    changes,
    fingerprint,
    snapshot,
)
from support.store import damage
from support.synthetic import Environment, import_all, install, make_environment, package, write

if TYPE_CHECKING:
    from support.disks import Disk

STALE = re.compile(r"bytecode is stale|could not create|wrote '|code object from [^']")
RAISES = b"def fail():\n    raise RuntimeError('here')\n"
IMPORTS = "import six, click, packaging.requirements, attr, rich.console, rich.table, pygments"


def compiled(path: str, *, modules: int = 12) -> Environment:
    """An environment with one distribution and its bytecode, made at its own time and place."""
    environment = make_environment(path)
    files = package("alpha", modules=modules) | {"alpha/raises.py": RAISES}
    install(environment, "alpha==1.0", files)
    environment.compile()
    return environment


def inode_of(path: str) -> int:
    return os.stat(path).st_ino


def test_two_environments_end_with_one_copy(filesystem: Disk) -> None:
    first, second = compiled(filesystem / "first"), compiled(filesystem / "longer/place/second")
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path), snapshot(second.path)
    pipm.adopt(first.path, second.path)
    assert_bytecode_names_kept(before[0], first.path)
    assert_bytecode_names_kept(before[1], second.path)
    names = [name for name in bytecode(before[0]) if os.path.getsize(f"{first.path}/{name}")]
    assert len(names) > 10
    for name in names:
        source = os.path.basename(name).split(".")[0]
        shared = inode_of(f"{first.path}/{name}") == inode_of(f"{second.path}/{name}")
        assert shared, f"{source} has two copies of its bytecode"
    assert damage(pipm.store) == []


def test_python_rewrites_nothing(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    Pipm(store=filesystem / "store").adopt(environment.path)
    before = fingerprint(environment.path)
    code = "import alpha.raises, alpha.module_1, alpha.sub.module_0, alpha.sub"
    done = run(environment.python, "-v", "-c", code, environ={})
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if environment.site in line]
    assert [line for line in ours if STALE.search(line)] == []
    assert len([line for line in ours if line.startswith("# code object from")]) >= 5
    import_all(environment)
    assert changes(before, fingerprint(environment.path)) == []


def test_the_stale_pattern_sees_a_stale_pyc(filesystem: Disk) -> None:
    environment = compiled(filesystem / "env")
    os.utime(environment.file("alpha/raises.py"))
    done = run(environment.python, "-v", "-c", "import alpha.raises")
    assert STALE.search(done.stderr)


def test_a_traceback_names_the_environments_own_file(filesystem: Disk) -> None:
    first, second = compiled(filesystem / "first"), compiled(filesystem / "second")
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path)
    code = (
        "import alpha.raises, alpha, traceback\n"
        "print(alpha.raises.fail.__code__.co_filename)\n"
        "try: alpha.raises.fail()\n"
        "except RuntimeError: print(traceback.format_exc())\n"
    )
    for environment in (first, second):
        told = environment.run(code)
        assert told.splitlines()[0] == environment.file("alpha/raises.py")
        assert f'File "{environment.file("alpha/raises.py")}", line 2, in fail' in told
        assert "raise RuntimeError('here')" in told  # the source line was found there


def test_adopt_makes_no_bytecode_unless_asked(filesystem: Disk) -> None:
    first, second = make_environment(filesystem / "first"), make_environment(filesystem / "second")
    for environment in (first, second):
        install(environment, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path)
    pipm.adopt(first.path)
    assert snapshot(first.path) == before
    pipm("adopt", second.path, "--compile").expect()
    made = second.bytecode("alpha/module_1.py")
    assert os.path.exists(made)
    fresh = fingerprint(second.path)
    import_all(second)
    assert changes(fresh, fingerprint(second.path)) == []


def test_bytecode_of_an_edited_source_is_its_own(filesystem: Disk) -> None:
    clean, mine = compiled(filesystem / "clean"), make_environment(filesystem / "mine")
    install(mine, "alpha==1.0", package("alpha") | {"alpha/raises.py": RAISES})
    write(mine.file("alpha/raises.py"), b"WHO = 'mine'\n")
    mine.compile()
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(clean.path)
    pipm.adopt(mine.path)
    assert mine.run("import alpha.raises; print(alpha.raises.WHO)") == "mine\n"
    mine_pyc, clean_pyc = (e.bytecode("alpha/raises.py") for e in (mine, clean))
    assert inode_of(mine_pyc) != inode_of(clean_pyc)
    assert os.stat(mine_pyc).st_nlink == 1
    assert clean.run("import alpha.raises; print(hasattr(alpha.raises, 'fail'))") == "True\n"


def test_false_bytecode_is_never_taken_over(filesystem: Disk) -> None:
    """A pyc with a fitting header but other code must not reach another environment."""
    liar, other = compiled(filesystem / "liar"), compiled(filesystem / "other")
    victim = liar.bytecode("alpha/raises.py")
    code = (
        "import marshal\n"
        f"path = {victim!r}\n"
        "head = open(path, 'rb').read(16)\n"
        "open(path, 'wb').write(head + b'torn')\n"
    )
    liar.run(code)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(liar.path, codes=(0, 3))
    pipm.adopt(other.path)
    assert other.run("import alpha.raises; print(alpha.raises.fail.__name__)") == "fail\n"


def test_a_source_that_does_not_compile_is_shared_alone(filesystem: Disk) -> None:
    first, second = make_environment(filesystem / "first"), make_environment(filesystem / "second")
    for environment in (first, second):
        install(environment, "alpha==1.0", {"alpha.py": b"x = 1\n", "bad.py": b"def (:\n" * 900})
        check(environment.python, "-m", "compileall", "-q", environment.file("alpha.py"))
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path)
    pipm.adopt(first.path, second.path)
    pipm("adopt", first.path, "--compile").expect()
    assert_kept(before, first.path)
    assert not os.path.exists(first.bytecode("bad.py"))


@pytest.mark.network
def test_real_pip_environments_share_real_bytecode(
    filesystem: Disk, pip_template: Environment, other_pip_template: Environment
) -> None:
    first = copy_environment(pip_template, filesystem / "first")
    second = copy_environment(other_pip_template, filesystem / "second")
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(first.path)
    pipm.adopt(first.path, second.path)
    assert_bytecode_names_kept(before, first.path)
    names = list(bytecode(before))
    twice = [name for name in names if inode_of(f"{first.path}/{name}") != inode_of(f"{second.path}/{name}")]
    assert len(names) > 400
    assert twice == []
    for environment in (first, second):
        taken = fingerprint(environment.path)
        done = run(environment.python, "-v", "-c", IMPORTS)
        stale = [line for line in done.stderr.splitlines() if STALE.search(line)]
        assert [line for line in stale if environment.path in line] == []
        assert changes(taken, fingerprint(environment.path)) == []
