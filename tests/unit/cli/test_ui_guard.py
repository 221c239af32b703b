"""The error handler of all commands: each error becomes a message and an exit code."""

from __future__ import annotations

import errno
import gc
from typing import TYPE_CHECKING

import pytest
from pipm.cli.exit_codes import run_program_to_end
from pipm.errors import PipmError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    yield
    gc.enable()


def ended_by(error: BaseException) -> int:
    def call() -> int:
        raise error

    return run_program_to_end(call)


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (OSError(errno.ENOSPC, "x", "/a"), "Cannot go on: No space left on device", 1),
        (OSError(errno.ENOENT, "x", "/a"), "Cannot go on: No such file or directory: /a", 1),
        (OSError(errno.EMFILE, "x", "/a"), "Cannot go on: Too many open files", 1),
        (OSError(errno.EFBIG, "x", "/a"), "ulimit -f", 1),
        (BlockingIOError(errno.EAGAIN, "x"), "ulimit -u", 1),
        (RuntimeError("can't start new thread"), "ulimit -u", 1),
        (MemoryError(), "Cannot go on: Cannot allocate memory", 1),
        (ValueError("x"), "Internal error: ValueError: x", 1),
        (OSError("x"), "Internal error: OSError: x", 1),
        (KeyboardInterrupt(), "", 130),
        (BrokenPipeError(errno.EPIPE, "x"), "", 1),
    ],
)
def test_errors_that_no_command_told(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    words: str,
    code: int,
) -> None:
    monkeypatch.setattr("pipm.cli.exit_codes.drop_output", lambda: None)  # pytest goes on writing
    assert ended_by(error) == code
    told = capfd.readouterr().err
    assert words in told
    assert bool(told) is bool(words)
    assert ("hint: " in told) is bool(words)


def test_pipm_errors_pass(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended_by(PipmError("words", hint="more")) == 1
    assert "words" in capfd.readouterr().err
