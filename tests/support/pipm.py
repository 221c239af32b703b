"""The command as a black box: run it, parse its JSON, check its errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.process import ROOT, clean_environ, interpreter_for, run
from support.store import is_shareable

if TYPE_CHECKING:
    from collections.abc import Mapping

DONE, FAILED, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130


def left_in(row: dict[str, Any]) -> dict[str, str]:
    """Return path → reason of the files that were left though they are no private kind.

    Files that belong to one environment by their purpose are not of interest; they may be listed.
    """
    found = {}
    for left in row["files_left"]:
        assert set(left) == {"path", "reason"}
        path = os.path.join(row["path"], left["path"])
        private = left["path"].startswith("bin/") or left["path"] == "pyvenv.cfg"
        if private or not os.path.lexists(path):  # RECORD may name what nobody made
            continue
        if not os.path.isfile(path) or is_shareable(path):
            found[left["path"]] = left["reason"]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one run of the command gave."""

    command: str
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        value: dict[str, Any] = json.loads(self.out)
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The error object on standard error."""
        value: dict[str, Any] = json.loads(self.err)["error"]
        return value

    @property
    def environment(self) -> dict[str, Any]:
        """The row of the only environment."""
        (row,) = self.json["environments"]
        assert isinstance(row, dict)
        return row

    @property
    def left(self) -> dict[str, str]:
        """The files left in the only environment that one would expect to be shared."""
        return left_in(self.environment)

    @property
    def all_left(self) -> dict[str, str]:
        """The same of all environments together."""
        rows = self.json["environments"]
        return {f"{row['path']}/{path}": why for row in rows for path, why in left_in(row).items()}

    def expect(self, *codes: int) -> Result:
        """Return itself; the exit code must be one of these (default: done)."""
        wanted = codes or (DONE,)
        text = f"{self.command}\nexit code {self.code}, not in {wanted}\n{self.out[:1500]}\n{self.err[:3000]}"
        assert self.code in wanted, text
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipm:
    """The command with its store, run by some user."""

    store: str
    user: int | None = None
    cwd: str = ROOT
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The command line, and the variables that it needs."""
        python, variables = interpreter_for(self.user)
        home = {} if self.user is None else {"HOME": os.path.dirname(self.store)}
        variables = variables | home | {"PIPM_STORE": self.store} | dict(self.environ)
        return [python, "-m", "pipm", *arguments], variables

    def __call__(self, *arguments: str, timeout: float = 600) -> Result:
        """Run the command to its end."""
        command, variables = self.command(*arguments)
        done = run(*command, cwd=self.cwd, environ=variables, user=self.user, timeout=timeout)
        return Result(command=" ".join(arguments), code=done.returncode, out=done.stdout, err=done.stderr)

    def start(self, *arguments: str, talks: bool = False) -> subprocess.Popen[str]:
        """Start the command in a session of its own, so that it can be killed with its children.

        *talks*: what it becomes reads a pipe.
        """
        command, variables = self.command(*arguments)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in a shell's background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            command,
            cwd=self.cwd,
            env=clean_environ(variables),
            user=self.user,
            text=True,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def adopt(self, *environments: str, mode: str = "auto", codes: tuple[int, ...] = ()) -> Result:
        """Adopt environments and expect that it was done."""
        return self("adopt", *environments, "--link-mode", mode, "--json").expect(*codes)

    def release(self, *arguments: str) -> Result:
        """Release environments and expect that it was done."""
        return self("release", *arguments, "--json").expect()


def assert_refused(result: Result, *words: str, code: int = FAILED) -> None:
    """Check that a run with --json was refused by an error object on stderr, in words that name the matter."""  # noqa: E501
    result.expect(code)
    assert result.out.strip() == "", result.out
    error = result.error
    assert set(error) >= {"kind", "message", "hint", "code"}, error
    assert error["code"] == code
    assert error["kind"]
    assert error["message"]
    assert error["hint"], error
    text = f"{error['message']} {error['hint']}".lower()
    for word in words:
        assert word.lower() in text, f"{word!r} is not in {error}"


def assert_says(result: Result) -> None:
    """Check that a run without --json says error, blank line, hint on standard error only."""
    assert result.out == ""
    assert result.err.startswith("error: "), result.err
    assert "\n\nhint: " in result.err, result.err
    assert "Traceback" not in result.err
