"""Locks and leases, tested against another process."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from pipm.errors import BusyError
from pipm.fs import flock
from pipm.fs.flock import locked, locked_folder, try_lock
from pipm.fs.read_lease import Lease, forbid_lease_signals, take_read_lease

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A child that opens a file in some way, says so, and keeps it until its standard input ends.
HOLD = """
import fcntl, os, sys
file = os.open(sys.argv[1], getattr(os, sys.argv[2]))
if sys.argv[3:]:
    fcntl.flock(file, getattr(fcntl, sys.argv[3]))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file with content."""
    (tmp_path / "file").write_text("content")
    return str(tmp_path / "file")


def hold(*arguments: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOLD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def let_go(child: subprocess.Popen[str]) -> None:
    child.communicate()
    assert child.returncode == 0


@pytest.fixture
def held_exclusively(path: str) -> Iterator[int]:
    """Another process (its number is the value) holds the exclusive lock."""
    child = hold(path, "O_RDWR", "LOCK_EX")
    yield child.pid
    let_go(child)


@pytest.fixture
def held_shared(path: str) -> Iterator[None]:
    """Another process has the lock with others."""
    child = hold(path, "O_RDONLY", "LOCK_SH")
    yield
    let_go(child)


@pytest.mark.timing
@pytest.mark.parametrize("shared", [True, False])
def test_waiting_ends_with_an_error_that_helps(
    path: str,
    held_exclusively: int,
    shared: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(flock._Waits, "tell", told.append)
    started = time.monotonic()
    with (
        pytest.raises(BusyError) as caught,
        locked(path, what="the store", shared=shared, timeout=0.12),
    ):
        pytest.fail("the lock was another's")
    assert 0.12 <= time.monotonic() - started < 5
    holder = (
        f"The store is in use by process {held_exclusively} ({os.path.basename(sys.executable)} -I -S -c "
    )
    assert told[0].startswith(holder)
    assert told[0].endswith("): waiting at most 0.12 s")
    assert len(told) == 1
    assert caught.value.message == told[0].replace("waiting at most", "gave up after")
    assert caught.value.hint is not None
    assert "PIPM_LOCK_TIMEOUT" in caught.value.hint


@pytest.mark.usefixtures("held_shared")
def test_readers_share_and_a_writer_waits(path: str) -> None:
    with locked(path, what="it", shared=True, timeout=0):
        pass
    with pytest.raises(BusyError), locked(path, what="it", timeout=0):
        pytest.fail("the lock was shared")


def test_a_lock_is_free_again_afterwards(path: str) -> None:
    for _ in range(2):
        with locked(path, what="it", timeout=0) as file:
            assert not os.get_inheritable(file)
            other = os.open(path, os.O_RDONLY)
            assert not try_lock(other)
            os.close(other)
    other = os.open(path, os.O_RDONLY)
    assert try_lock(other)
    os.close(other)
    assert os.path.getsize(path) == len("content")  # never truncated


@pytest.mark.timing
def test_waiting_until_it_is_free(path: str) -> None:
    child = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            HOLD.replace("sys.stdin.read()", "__import__('time').sleep(0.3)"),
            path,
            "O_RDWR",
            "LOCK_EX",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    with locked(path, what="it", timeout=30) as file:
        assert file > 0
    let_go(child)


def test_the_lock_file_is_made(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with locked(path, what="it"):
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.path.exists(path)
    with pytest.raises(FileNotFoundError), locked(f"{path}-2", what="it", create=False):
        pytest.fail("there is no such file")
    assert not os.path.exists(f"{path}-2")


def test_a_symlink_is_no_lock(tmp_path: Path, path: str) -> None:
    os.symlink(path, tmp_path / "lock")
    with pytest.raises(OSError) as caught, locked(str(tmp_path / "lock"), what="it"):  # noqa: PT011
        pytest.fail("a symlink was followed")
    assert caught.value.errno == errno.ELOOP


def test_no_lock_is_no_work(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BusyError) as caught, locked(path, what="it"):
        pytest.fail("it went on unlocked")
    assert "No locks available" in caught.value.message
    assert caught.value.hint


def test_a_folder_is_held_for_a_moment(tmp_path: Path) -> None:
    folder, other = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    with locked_folder(folder, what="it"):
        assert not try_lock(other)
    assert try_lock(other)
    os.close(folder)
    os.close(other)


def test_nobody_writes_the_file(path: str) -> None:
    file = os.open(path, os.O_RDONLY)
    assert take_read_lease(file) is Lease.GRANTED
    assert fcntl.fcntl(file, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    os.close(file)


@pytest.mark.parametrize("how", ["O_WRONLY", "O_RDWR"])
def test_somebody_writes_the_file(path: str, how: str) -> None:
    child = hold(path, how)
    file = os.open(path, os.O_RDONLY)
    assert take_read_lease(file) is Lease.REFUSED
    let_go(child)
    assert take_read_lease(file) is Lease.GRANTED
    os.close(file)


def test_readers_do_not_matter(path: str) -> None:
    child = hold(path, "O_RDONLY")
    file = os.open(path, os.O_RDONLY)
    assert take_read_lease(file) is Lease.GRANTED
    os.close(file)
    let_go(child)


def test_no_leases_here(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _operation: int, _argument: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    file = os.open(path, os.O_RDONLY)
    assert take_read_lease(file) is Lease.UNKNOWN
    os.close(file)


def test_a_broken_lease_does_not_end_the_process(path: str) -> None:
    before = signal.getsignal(signal.SIGIO)
    try:
        forbid_lease_signals()
        file = os.open(path, os.O_RDONLY)
        assert take_read_lease(file) is Lease.GRANTED
        writer = "import os, sys; os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", writer, path], stderr=subprocess.PIPE, check=False
        )
        assert b"BlockingIOError" in done.stderr  # the kernel has sent the signal by now
        os.close(file)
    finally:
        signal.signal(signal.SIGIO, before)
