"""A repeated `pipm run` needs little more time than the program itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.process import clean_environ, run
from support.runs import environments, make_runner, publish

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED = {"__future__", "_sha2", "_sha256", "errno", "fcntl"}
"""What the way of a warm run takes of the standard library besides what every start has loaded."""
_FRONT = """
import os, sys
before = set(sys.modules)
import pipm.__main__ as main
os.execve = lambda *rest: print(*sorted(set(sys.modules) - before))
main.main()
"""


def cpu_seconds(command: list[str], environ: dict[str, str]) -> float:
    process = os.posix_spawn(command[0], command, environ)
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("words", [("--with", "tool"), ("--lock", "requirements.txt")], ids=" ".join)
def test_a_warm_run_imports_little(tmp_path: Path, words: tuple[str, ...]) -> None:
    wheel = publish(str(tmp_path), "tool==1")
    for name, line in (("requirements.txt", "-r more.txt"), ("more.txt", f"tool @ file://{wheel}")):
        (tmp_path / name).write_text(f"{line}\n", encoding="utf-8")
    pipm = make_runner(str(tmp_path))
    words = ("run", *words, "python", "-c", "pass")
    pipm(*words).expect()
    command, environ = pipm.command(*words)
    done = run(command[0], "-S", "-c", _FRONT, *words, cwd=pipm.cwd, environ=environ)
    found = set(done.stdout.split())
    assert "pipm.run.cached_environment" in found, done.stderr
    assert {name for name in found if not name.startswith("pipm")} <= ALLOWED
    assert not {name for name in found if name.startswith(("pipm.run.make_environment", "pipm.store.layout"))}


@pytest.mark.timing
def test_a_warm_run_costs_little_more_than_its_program(tmp_path: Path) -> None:
    """Budget: 30 ms over the program; of the processor, a second start and a half of an interpreter."""
    publish(str(tmp_path), "tool==1")
    pipm = make_runner(str(tmp_path))
    words = ("run", "--with", "tool", "python", "-c", "pass")
    pipm(*words).expect()
    (name,) = environments(str(tmp_path))
    own = [f"{tmp_path}/cache/pipm/environments/{name}/bin/python", "-c", "pass"]
    _, variables = pipm.command()
    environ = clean_environ(variables)
    front = [pipm.command()[0][0], "-S", "-c", "from pipm.__main__ import main; main()", *words]
    pairs = [(cpu_seconds(front, environ), cpu_seconds(own, environ)) for _ in range(15)]
    warm, bare = (min(column) for column in zip(*pairs, strict=True))
    assert warm - bare <= 2 * bare, (warm, bare)


_REFUSED = """
import errno, os, sys
import pipm.__main__ as main

def refuse(path, *rest, **more):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

os.mkdir = refuse
main.main()
"""


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": f"{tmp_path}/cache", "PIPM_STORE": f"{tmp_path}/store"}
    done = run(sys.executable, "-c", _REFUSED, "run", "--with", "tool", "tool", environ=environ)
    assert done.returncode == 1
    assert "\nerror: Cannot go on: Permission denied: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
