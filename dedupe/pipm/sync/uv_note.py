"""uv's note about the files of an editable project: without it `uv run` installs the project again."""

from __future__ import annotations

import contextlib
import os

from pipm.fs.beneath import read_file

FILE = "uv_cache.json"
_READ = ("pyproject.toml", "setup.py", "setup.cfg")


def uv_note(folder: str) -> bytes | None:
    """Return the note for the project in *folder*; None if its settings name other files (``cache-keys``).

    uv compares the change time of the describing files and the creation time of the directory ``src``.
    """
    if b"cache-keys" in (read_file(f"{folder}/pyproject.toml") or b""):
        return None
    changed = 0
    for name in _READ:
        with contextlib.suppress(OSError):
            changed = max(changed, os.stat(f"{folder}/{name}").st_ctime_ns)
    made = _made(f"{folder}/src") if os.path.isdir(f"{folder}/src") else None
    times = {"timestamp": _time(changed), "directories": {"src": made and _time(made)}}
    import json  # noqa: PLC0415 - few projects are editable

    return json.dumps(times | {"commit": None, "tags": None, "env": {}}).encode("ascii")


def _time(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(nanoseconds, 10**9)
    return {"secs_since_epoch": seconds, "nanos_since_epoch": rest}


def _made(folder: str) -> int:
    """Return the creation time of *folder* (ns), which Python provides from 3.15 on; 0 if unknown."""
    import subprocess  # noqa: PLC0415 - few syncs need it

    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        command = ("/usr/bin/stat", "--format=%.9W", "--", folder)
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return int(text.replace(".", ""))
    return 0
