"""Processes that use files while pipm changes the environment."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from support.process import clean_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

_HAMMER = """
import hashlib, json, os, sys
files = json.load(sys.stdin)
counts = {"reads": 0, "rounds": 0, "errors": []}
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    for path, digest in files.items():
        try:
            with open(path, "rb") as file:
                content = file.read()
            if hashlib.sha256(content).hexdigest() != digest:
                counts["errors"].append([path, "%d false bytes" % len(content)])
        except OSError as error:
            counts["errors"].append([path, repr(error)])
        counts["reads"] += 1
    counts["rounds"] += 1
print(json.dumps(counts), flush=True)
"""


@contextlib.contextmanager
def hammering(files: dict[str, str], stop: str) -> Iterator[dict[str, Any]]:
    """Read files again and again during a with block; then the counts are in the yielded dict.

    `files` gives each path its sha256; a file named `stop` ends the reader.
    """
    counts: dict[str, Any] = {}
    reader = subprocess.Popen(
        [sys.executable, "-I", "-c", _HAMMER, stop],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    try:
        json.dump(files, reader.stdin)
        reader.stdin.close()
        assert reader.stdout.readline() == "ready\n"
        yield counts
        with open(stop, "w", encoding="utf-8"):
            pass
        counts.update(json.loads(reader.stdout.readline()))
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


class Program:
    """A Python program in an environment that stops at each `wait()` until `go` is called."""

    def __init__(self, python: str, code: str) -> None:
        whole = f"import sys\ndef wait():\n    print('at', flush=True)\n    input()\n{code}"
        self._process = subprocess.Popen(
            [python, "-c", whole],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environ(),
            cwd=os.path.dirname(python),
        )

    def until_it_waits(self) -> None:
        """Wait until the program says that it waits."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "at\n"

    def finish(self) -> str:
        """Let it run to its end and return its output."""
        out, _ = self._process.communicate("\n" * 10, timeout=300)
        assert self._process.returncode == 0, out
        return out

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


def wait_for(path: str, *, at_least: int, seconds: float = 30) -> None:
    """Wait until a folder has some entries."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if len(os.listdir(path)) >= at_least:
                return
        time.sleep(0.002)
    raise AssertionError(f"{path} has not {at_least} entries after {seconds} s")
