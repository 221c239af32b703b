"""uv's note of what an editable project was installed from: without it `uv run` installs the project anew."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

from pipm.fs.beneath import read_file

FILE = "uv_cache.json"
_READ = ("pyproject.toml", "setup.py", "setup.cfg")


def uv_note(folder: str) -> bytes | None:
    """Return the note for the project in *folder*; None where its settings say what else counts.

    uv compares when the describing files changed last and when the directory ``src`` was made.
    """
    if b"cache-keys" in (read_file(f"{folder}/pyproject.toml") or b""):
        return None
    changed = 0
    for name in _READ:
        with contextlib.suppress(OSError):
            changed = max(changed, os.stat(f"{folder}/{name}").st_ctime_ns)
    made = _made(f"{folder}/src") if os.path.isdir(f"{folder}/src") else None
    times = {"timestamp": _time(changed), "directories": {"src": made and _time(made)}}
    return json.dumps(times | {"commit": None, "tags": None, "env": {}}).encode("ascii")


def _time(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(nanoseconds, 10**9)
    return {"secs_since_epoch": seconds, "nanos_since_epoch": rest}


def _made(folder: str) -> int:
    """Return when *folder* was made, which Python says from 3.15 on; 0 where nobody knows."""
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        command = ("/usr/bin/stat", "--format=%.9W", "--", folder)
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return int(text.replace(".", ""))
    return 0
