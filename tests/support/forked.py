"""Runs of the command as forks of a process that has imported everything, which saves start time.

A run that is traced waits until strace has attached, one with a fault until somebody answers it: numbers of
calls count from the command's own first one.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple, Self

from support.injected import FILTER, answer, listener_of
from support.pipm import Result
from support.process import clean_environ

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 120
_SERVER = (
    FILTER
    + """
import importlib, json, os, pkgutil, sys
import multiprocessing.connection, multiprocessing.popen_fork, multiprocessing.queues, multiprocessing.spawn
import asyncio, bz2, csv, ctypes, difflib, email.parser, lzma, queue, rich.console, typer.rich_utils, zipfile
import pipm
for module in pkgutil.walk_packages(pipm.__path__, "pipm."):
    if not {"runtime", "plugins", "__main__"} & {*module.name.split(".")}:
        importlib.import_module(module.name)
from pipm.__main__ import main

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a command leaves running is waited for
jobs, answers = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w")
for line in jobs:
    job = json.loads(line)
    gate, opened = os.pipe()
    child = os.fork()
    if child == 0:
        jobs.close(), answers.close(), os.close(opened)
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(os.open(job["outputs"][descriptor - 1], os.O_WRONLY), descriptor)
        os.closerange(gate + 1, gate + 10)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["environ"])
        sys.argv = ["pipm", *job["arguments"]]
        if job["asks"] is not None:
            ask(job["asks"])
        os.read(gate, 1)
        if job["asks"] is not None:
            os.close(LISTENER)
        os.close(gate)
        main()
    os.close(gate)
    print(child, file=answers, flush=True)
    jobs.readline()
    os.close(opened)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        while True:
            os.wait()
    except ChildProcessError:
        print(code, file=answers, flush=True)
"""
)


class Fault(NamedTuple):
    """What happens at the *number*-th system call *call* of each thread: KILL, or the error of that name."""

    call: int
    number: int
    name: str


class Forks:
    """The process that runs commands of this checkout, for the time of a with block."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = clean_environ(environ)
        self._files = [tempfile.NamedTemporaryFile("r+b") for _ in range(2)]  # noqa: SIM115 - closed below

    def __enter__(self) -> Self:
        jobs, self._jobs = os.pipe()
        answers, given = os.pipe()
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(jobs), str(given)],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            pass_fds=(jobs, given),
        )
        os.close(jobs)
        os.close(given)
        self._answers = os.fdopen(answers)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._jobs)
        self._server.wait()
        self._answers.close()
        for file in self._files:
            file.close()

    def run(
        self,
        arguments: tuple[str, ...],
        environ: Mapping[str, str],
        cwd: str,
        *,
        strace: tuple[str, ...] = (),
        fault: Fault | None = None,
    ) -> Result:
        """Run the command to its end, with a *fault* or under strace with these options if there are any."""
        for file in self._files:
            file.truncate(0)
        job = {
            "arguments": arguments,
            "environ": clean_environ(environ),
            "cwd": cwd,
            "outputs": [file.name for file in self._files],
            "asks": None if fault is None else fault.call,
        }
        self._send(json.dumps(job))
        child = int(self._answer())
        tracer = _traced(child, strace) if strace else None
        listener = None if fault is None else listener_of(child, _SECONDS)
        self._send("")
        if fault is not None and listener is not None:
            if not answer(listener, fault.number, fault.name, _SECONDS):
                os.killpg(child, signal.SIGKILL)
            os.close(listener)
        try:
            code = int(self._answer())
        except TimeoutError:
            os.killpg(child, signal.SIGKILL)
            code = int(self._answer())
        if tracer is not None:
            tracer.communicate(timeout=_SECONDS)
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Result(command=" ".join(arguments), code=code, out=texts[0], err=texts[1])

    def _send(self, line: str) -> None:
        os.write(self._jobs, f"{line}\n".encode())

    def _answer(self) -> str:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            if not selector.select(_SECONDS):
                raise TimeoutError
        return self._answers.readline()


def _traced(child: int, options: tuple[str, ...]) -> subprocess.Popen[str]:
    """Attach strace and return it as soon as no call of *child* can escape it."""
    tracer = subprocess.Popen(
        ["strace", "-f", *options, "-p", str(child)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    assert "attached" in said, said
    return tracer
