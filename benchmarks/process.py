"""Child processes as a benchmark needs them: one clean environment, figures read from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).parent.parent
# What would change the bytecode of the corpus or the modules that are measured.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What one finished process cost, with the children it waited for."""

    exit_code: int
    wall: float
    user: float
    system: float
    peak_bytes: int  # of the largest single process
    read_bytes: int = 0  # from disk: a warm run reads next to none
    other_cpu: float = 0  # seconds of everything else on the machine, kernel threads included

    @property
    def cpu(self) -> float:
        """Return user and system time together."""
        return self.user + self.system


def child_environment() -> dict[str, str]:
    """Return the environment of every child: this repository importable, bytecode allowed."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return kept | {"PYTHONPATH": str(REPOSITORY / "dedupe"), "LC_ALL": "C.UTF-8"}


def timed(
    command: Sequence[str],
    *,
    stdout: Path,
    stderr: Path,
    environ: Mapping[str, str | Path] | None = None,
    cwd: Path | None = None,
) -> Timing:
    """Run `command` to its end and read its cost from the kernel by wait4.

    The kernel starts a child's peak memory at that of the process it was forked from: this process
    must stay small, so whatever walks trees runs in a process of its own.
    """
    with stdout.open("wb") as out, stderr.open("wb") as err:
        busy = busy_seconds()
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=child_environment() | {name: str(value) for name, value in (environ or {}).items()},
            cwd=cwd,
            process_group=0,
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # interrupted: nothing may stay on a volume that is to be unmounted
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        wall = time.perf_counter() - started
        other_cpu = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
    child.returncode = os.waitstatus_to_exitcode(status)
    return Timing(
        exit_code=child.returncode,
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        read_bytes=usage.ru_inblock * 512,
        other_cpu=max(other_cpu, 0),
    )


def busy_seconds() -> float:
    """Return the seconds that all processors have been busy since boot."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def end_on_signals() -> None:
    """Make SIGTERM and SIGINT, even when started with them ignored, unwind and so unmount."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def output(command: Sequence[str]) -> str:
    """Return what `command` prints; its failure is an error."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=child_environment())
    return done.stdout
