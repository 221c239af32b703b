"""A sync by several processes has the result of one process, also if one of them dies."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from support.locks import assert_holds, pylock
from support.pipm import FAILED, INTERRUPTED, assert_refused
from support.snapshot import difference, snapshot, sources
from support.store import damage
from support.synthetic import Environment, make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm

_SCRIPT = "[console_scripts]\nmany{0} = many{0}:NAME.strip\n"
_COUNT, _MODULES = 6, 500
pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one processor: there is but one process"
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Wheels of more than 2 000 files, with scripts, and with a namespace that all have a part of."""
    folder = str(tmp_path_factory.mktemp("many"))
    found = []
    for number in range(_COUNT):
        name = f"many{number}"
        files = package(name, modules=_MODULES)
        files |= {f"shared/part{number}/__init__.py": b"", f"shared/part{number}/one.py": b"ONE = 1\n"}
        files |= {f"{name}-1.0.dist-info/entry_points.txt": _SCRIPT.format(number).encode()}
        found.append(make_wheel(folder, f"{name}==1.0", files))
    return found


@pytest.fixture
def lock(wheels: list[str], tmp_path: Path) -> str:
    return pylock(str(tmp_path), wheels)


@pytest.mark.parametrize("options", [("--compile",), ("--no-compile",), ("--compile", "--link-mode", "copy")])
def test_the_same_as_by_one(
    pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    env = Environment(path=f"{tmp_path}/env")
    command = ("sync", lock, "--env", env.path, *options, "--json")
    many = pipm(*command).expect().json
    assert_holds(env, wheels)
    by_many = snapshot(env.path)
    assert pipm(*command).expect().json["unchanged"] == _COUNT
    shutil.rmtree(env.path)
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        one = pipm(*command).expect().json
    finally:
        os.sched_setaffinity(0, processors)
    assert many["files"] == one["files"] > 2 * _MODULES
    by_one = snapshot(env.path)
    assert difference(sources(by_many), sources(by_one)) == []
    assert by_many.keys() == by_one.keys()


def test_what_one_of_them_refuses_ends_all(pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path) -> None:
    first, second = (Environment(path=f"{tmp_path}/{name}") for name in ("first", "second"))
    pipm("sync", lock, "--env", first.path, "--no-compile").expect()
    (stored,) = (tmp_path / "first").glob("lib/*/site-packages/many5/module_7.py")
    before = stored.read_bytes()
    if os.stat(stored).st_nlink == 1:
        pytest.skip("reflinks: an edit in an environment is no edit of the store")
    os.chmod(stored, 0o644)
    stored.write_bytes(before.replace(b"SEED", b"DEED"))
    os.utime(stored, (time.time() + 2**31, time.time() + 2**31))
    failed = pipm("sync", lock, "--env", second.path, "--no-compile", "--json")
    assert_refused(failed, "many5", "changed in place", code=FAILED)
    assert psutil.Process().children(recursive=True) == []
    assert pipm("verify", "--repair").code in (0, 1)
    pipm("sync", lock, "--env", second.path, "--no-compile").expect()
    assert_holds(second, wheels)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_cut_short(pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path, sign: signal.Signals) -> None:
    env, amid = Environment(path=f"{tmp_path}/env"), 0
    pipm("sync", lock, "--env", env.path, "--compile").expect()
    for files in (1, 400, 900):
        shutil.rmtree(env.path)
        process = pipm.start("sync", lock, "--env", env.path, "--compile")
        helpers = _helpers_at_work(psutil.Process(process.pid), env.path, files)
        os.kill(process.pid, sign)  # the one process alone: the others see to themselves
        _, err = process.communicate(timeout=60)
        amid += process.returncode != 0
        assert process.returncode in (0, -signal.SIGKILL if sign is signal.SIGKILL else INTERRUPTED), err
        _, alive = psutil.wait_procs(helpers, timeout=10)
        assert alive == []
        pipm("sync", lock, "--env", env.path, "--compile").expect()
        assert_holds(env, wheels)
        assert damage(pipm.store) == []
    assert amid, "no sync was cut short"


def _helpers_at_work(parent: psutil.Process, env: str, files: int) -> list[psutil.Process]:
    """The processes that *parent* has by when so many files are in *env*."""
    helpers: list[psutil.Process] = []
    while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
        helpers = parent.children() or helpers
        if len(helpers) > 1 and sum(len(names) for _, _, names in os.walk(f"{env}/lib")) >= files:
            break
    return helpers
