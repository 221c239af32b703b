"""`pipm schedule`: a systemd user timer, or else a line of the user's crontab, runs `pipm adopt --all`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import PipmError
from pipm.fs.beneath import read_file
from pipm.fs.durability import write_file
from pipm.fs.home import config_home
from pipm.fs.own_files import make_folders
from pipm.fs.removal import remove_path

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNIT = "pipm-adopt"
_MARK = "# made by pipm schedule"
_CRON_TIMES = {"daily": "17 12 * * *", "weekly": "17 12 * * 1"}
"""At noon a laptop is awake more often than at night; cron does not make up for a missed time."""
_SERVICE = """\
{mark}
[Unit]
Description=Environments of Python share their files (pipm)

[Service]
Type=oneshot
Nice=19
IOSchedulingClass=idle
SuccessExitStatus=3
ExecStart={command}
"""
_TIMER = """\
{mark}
[Unit]
Description=Run pipm adopt {often}

[Timer]
OnCalendar={often}
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
"""


class Change(NamedTuple):
    """A description of a file or command, done or planned; ``new`` is true if it was different before."""

    means: str
    lines: tuple[str, ...]
    new: bool


def adopt_command(store: str, folders: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the command that the timer runs; it has no variables of a shell, so it names all."""
    words = [sys.executable, "-P", "-m", "pipm", "--store", store, "--quiet", "adopt"]
    for option, values in (("--all", folders), ("--exclude", exclude)):
        words += [word for value in values for word in (option, value)]
    return words


def schedule(command: Sequence[str], often: str, *, dry_run: bool) -> Change:
    """Let *command* run *often* (daily or weekly); raise PipmError if the system has no timer."""
    if _has_systemd():
        return _by_systemd(command, often, dry_run=dry_run)
    before = _crontab()
    if before is None:
        raise PipmError(
            "This machine has neither a systemd for your user nor cron",
            hint=f"let another program run it {often}: {shlex.join(command)}",
        )
    line = f"{_CRON_TIMES[often]} nice -n 19 {shlex.join(command)} {_MARK}".replace("%", "\\%")
    rest = [text for text in before if not text.endswith(_MARK)]
    change = Change("crontab", (line,), [*rest, line] != before)
    if change.new and not dry_run:
        _write_crontab([*rest, line])
    return change


def unschedule(*, dry_run: bool) -> list[str]:
    """Remove what `schedule` made, wherever it is; returns it in words."""
    removed = [path for path in _unit_files() if os.path.lexists(path)]
    if removed and not dry_run:
        _run("systemctl", "--user", "disable", "--now", f"{_UNIT}.timer")
        for path in removed:
            remove_path(path)
        _run("systemctl", "--user", "daemon-reload")
    before = _crontab() or []
    rest = [text for text in before if not text.endswith(_MARK)]
    if rest != before:
        removed.append("a line of crontab")
        if not dry_run:
            _write_crontab(rest)
    return removed


def _by_systemd(command: Sequence[str], often: str, *, dry_run: bool) -> Change:
    words = " ".join(f'"{_escaped(word)}"' for word in command)
    texts = (_SERVICE.format(mark=_MARK, command=words), _TIMER.format(mark=_MARK, often=often))
    files = dict(zip(_unit_files(), texts, strict=True))
    same = all((read_file(path) or b"").decode() == text for path, text in files.items())
    enabled = same and _run("systemctl", "--user", "is-enabled", f"{_UNIT}.timer") is not None
    change = Change("systemd", (*files, f"systemctl --user enable --now {_UNIT}.timer"), not enabled)
    if change.new and not dry_run:
        for path, text in files.items():
            make_folders(os.path.dirname(path))
            write_file(path, text.encode())
        _run("systemctl", "--user", "daemon-reload")
        if _run("systemctl", "--user", "enable", "--now", f"{_UNIT}.timer") is None:
            raise PipmError("systemd refused the timer", hint=f"systemctl --user status {_UNIT}.timer")
    return change


def _escaped(word: str) -> str:
    """Quote a word for ExecStart= (systemd.service(5)): specifiers, variables, escapes."""
    for plain, quoted in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, quoted)
    return word


def _unit_files() -> tuple[str, str]:
    folder = f"{config_home()}/systemd/user"
    return f"{folder}/{_UNIT}.service", f"{folder}/{_UNIT}.timer"


def _has_systemd() -> bool:
    return _run("systemctl", "--user", "show-environment") is not None


def _crontab() -> list[str] | None:
    """Return the lines of the user's crontab, which may not be there yet; None where there is no cron."""
    try:
        done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "no crontab" not in done.stderr:
        return None
    return done.stdout.splitlines()


def _write_crontab(lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if _run("crontab", *(["-"] if lines else ["-r"]), text=text) is None:
        raise PipmError("crontab refused the change", hint="crontab -e")


def _run(*command: str, text: str = "") -> str | None:
    """Return what a program prints; None where it fails."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
