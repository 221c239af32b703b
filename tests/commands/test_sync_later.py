"""Bytecode that a process compiles after the sync: the states before, during and after it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pipm.cli import sync_output
from pipm.cli.option_table import SyncArguments
from pipm.cli.output import Output
from pipm.context.progress import Progress
from pipm.core.selection import Selection
from pipm.fs.link_modes import LinkMode
from pipm.store.layout import open_store
from pipm.store.roots import find_root
from pipm.sync import compile_later
from pipm.sync.open_lock import open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions
from support.locks import assert_holds, pylock
from support.store import damage
from support.synthetic import Environment, make_wheel, package

if TYPE_CHECKING:
    from pipm.sync.sync_values import SyncResult
    from support.pipm import Pipm

_MODULES = 300
_HOPELESS = "hopeless.py"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A wheel with more modules than a sync compiles itself; one does not compile."""
    files = {f"many/module_{number}.py": f"NUMBER = {number}\n".encode() for number in range(_MODULES)}
    files |= {"many/__init__.py": b"", f"many/{_HOPELESS}": b"def :\n", "many/data/table.json": b"{}"}
    return [make_wheel(str(tmp_path_factory.mktemp("many")), "many==1.0", files)]


@pytest.fixture
def lock(wheels: list[str], tmp_path: Path) -> str:
    return pylock(str(tmp_path), wheels)


def sync_only(pipm: Pipm, lock: str, env: str, link_mode: LinkMode | None = None) -> SyncResult:
    """Sync as the command does, but start no process that compiles."""
    chosen = SyncOptions(compiled_later=True, link_mode=link_mode)
    return sync(pipm.store, env, open_lock(lock, Selection()), chosen, Progress())


def compile_now(pipm: Pipm) -> None:
    """Do what the process does that a sync starts, and wait for it."""
    subprocess.run(_command(pipm), check=True)


def _command(pipm: Pipm) -> list[str]:
    return [sys.executable, "-m", compile_later.__name__, pipm.store]


def is_pending(pipm: Pipm, env: str) -> bool:
    store = open_store(pipm.store)
    assert store is not None
    root = find_root(store, os.path.realpath(env))
    assert root is not None
    return root.pending


def bytecode(env: str) -> dict[str, int]:
    """The names of all bytecode in *env*, and how many names each has."""
    return {path.name.split(".")[0]: path.stat().st_nlink for path in Path(env).rglob("many/**/*.pyc")}


def test_the_result_comes_first(pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path) -> None:
    env = Environment(path=f"{tmp_path}/env")
    assert sync_only(pipm, lock, env.path).pending
    assert bytecode(env.path) == {}
    again = sync_only(pipm, lock, env.path)
    assert (again.unchanged, again.repaired, again.pending) == (1, (), True)
    compile_now(pipm)
    assert bytecode(env.path).keys() == {f"module_{number}" for number in range(_MODULES)} | {"__init__"}
    assert min(bytecode(env.path).values()) > 1
    assert [path.parent.name for path in Path(env.site).rglob("__pycache__")] == ["many"]
    assert_holds(env, wheels)
    assert not is_pending(pipm, env.path)
    last = sync_only(pipm, lock, env.path)
    assert (last.unchanged, last.repaired, last.pending) == (1, (), False)
    # The store has all of it: a second environment is complete at once.
    assert not sync_only(pipm, lock, f"{tmp_path}/second").pending
    assert bytecode(f"{tmp_path}/second").keys() == bytecode(env.path).keys()
    assert damage(pipm.store) == []


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.FINDER])
def test_bytecode_that_the_disk_refused_comes_later(pipm: Pipm, tmp_path: Path, mode: LinkMode) -> None:
    """The compiler cannot write a large file; the source is not to blame, and a later process compiles it."""
    files = {"many/__init__.py": b"", "many/large.py": b"".join(b"print(%d)\n" % n for n in range(9000))}
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path), "many==1.0", files)])
    env = f"{tmp_path}/env"
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(files["many/large.py"]) + 10_000, usual[1]))
    try:
        assert sync_only(pipm, lock, env, mode).pending
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    compile_now(pipm)
    assert not is_pending(pipm, env)
    code = "import many.large, os; assert os.path.exists(many.large.__cached__)"
    subprocess.run([f"{env}/bin/python", "-B", "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert not sync_only(pipm, lock, env).pending


@pytest.mark.timing
def test_another_process_does_it(pipm: Pipm, lock: str, tmp_path: Path) -> None:
    env = f"{tmp_path}/env"
    assert pipm("sync", lock, "--env", env, "--json").expect().json["pending_bytecode"] is True
    deadline = time.monotonic() + 300
    while is_pending(pipm, env):
        assert time.monotonic() < deadline, "nobody compiled"
        time.sleep(0.05)
    assert len(bytecode(env)) == _MODULES + 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_dry_run_starts_nothing(
    pipm: Pipm, lock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dry_run: bool
) -> None:
    env = f"{tmp_path}/env"
    sync_only(pipm, lock, env)
    started: list[str] = []
    monkeypatch.setattr(compile_later, "start_compiling", started.append)
    arguments = SyncArguments({"lock": lock, "environment": env, "dry_run": dry_run})
    assert sync_output.sync_environment(Output(quiet=2), pipm.store, arguments) == 0
    assert started == ([] if dry_run else [pipm.store])


@pytest.mark.parametrize("option", ["--compile", "--no-compile"])
@pytest.mark.parametrize("before", [False, True])
def test_options_leave_nothing_pending(
    pipm: Pipm, lock: str, tmp_path: Path, option: str, *, before: bool
) -> None:
    env = f"{tmp_path}/env"
    if before:
        sync_only(pipm, lock, env)
    assert pipm("sync", lock, "--env", env, option, "--json").expect().json["pending_bytecode"] is False
    assert not is_pending(pipm, env)
    assert len(bytecode(env)) == (_MODULES + 1 if option == "--compile" else 0)


def test_another_sync_meanwhile(pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path) -> None:
    """It is complete, and pending bytecode does not count as damage."""
    env = Environment(path=f"{tmp_path}/env")
    sync_only(pipm, lock, env.path)
    both = [*wheels, make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))]
    done = sync_only(pipm, pylock(str(tmp_path / "both"), both), env.path)
    assert (done.added, done.repaired, done.pending) == ((("alpha", "1.0"),), (), True)
    assert list(Path(env.path).rglob("alpha/**/*.pyc"))
    compile_now(pipm)
    assert_holds(env, both)
    assert len(bytecode(env.path)) == _MODULES + 1


def test_by_the_finder(pipm: Pipm, lock: str, tmp_path: Path) -> None:
    env = f"{tmp_path}/env"
    assert sync_only(pipm, lock, env, link_mode=LinkMode.FINDER).pending
    stored = Path(pipm.store, "v1/wheels/many")
    assert list(stored.rglob("*.pyc")) == []
    compile_now(pipm)
    assert len(list(stored.rglob("*.pyc"))) == _MODULES + 1
    last = sync_only(pipm, lock, env, link_mode=LinkMode.FINDER)
    assert (last.unchanged, last.pending) == (1, False)


def test_what_changed_since_is_left_alone(pipm: Pipm, lock: str, tmp_path: Path) -> None:
    """An edited module, a released environment, a removed one."""
    envs = [f"{tmp_path}/{name}" for name in ("edited", "released", "gone")]
    for env in envs:
        sync_only(pipm, lock, env)
    (module,) = Path(envs[0]).rglob("many/module_7.py")
    module.unlink()
    module.write_text("NUMBER = 8\n")
    pipm("release", envs[1]).expect()
    shutil.rmtree(envs[2])
    compile_now(pipm)
    assert "module_7" not in bytecode(envs[0])
    assert len(bytecode(envs[0])) == _MODULES
    assert bytecode(envs[1]) == {}
    pipm("gc").expect()
    assert damage(pipm.store) == []


@pytest.mark.parametrize(("call", "number"), [("unlinkat", 1), ("linkat", 1), ("linkat", 150), ("syncfs", 2)])
def test_what_was_killed_is_finished(
    pipm: Pipm, lock: str, wheels: list[str], tmp_path: Path, call: str, number: int
) -> None:
    """Killed while it fills the store, and while it links into the environment."""
    env = Environment(path=f"{tmp_path}/env")
    sync_only(pipm, lock, env.path)
    kill = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}"]
    kill += ["-e", f"inject={call}:signal=SIGKILL:when={number}"]
    assert subprocess.run([*kill, *_command(pipm)], check=False).returncode != 0
    compile_now(pipm)
    assert_holds(env, wheels)
    assert len(bytecode(env.path)) == _MODULES + 1
    assert not sync_only(pipm, lock, env.path).pending
    assert damage(pipm.store) == []


def test_it_holds_nothing_of_who_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipe that the caller waits for, no terminal, no directory."""
    program, report = tmp_path / "python", tmp_path / "report"
    commands = f"(pwd; ps -o sid= -p $$; readlink /proc/$$/fd/*) > {report}"
    program.write_text(f"#!/bin/sh\n{commands}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        os.set_inheritable(writer, True)
        started = compile_later.start_compiling("/nonexistent")
        os.close(writer)
        assert pipe.read() == b""  # it is closed in the child, too
    assert started is not None
    assert started.wait(timeout=60) == 0
    where, session, *files = report.read_text().split()
    assert where == "/"
    assert int(session) != os.getsid(0)
    assert [file for file in files if file != str(program)] == ["/dev/null"] * 3
