"""Cached answers of interpreters: starting one takes as long as 1 000 links."""

from __future__ import annotations

import os

from pipm.fs.cache_files import read_value, write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FORMAT = 1
_SECONDS = 60.0


def ask_json(program: str, *words: str) -> Any:  # noqa: ANN401 - any JSON value
    """Run the interpreter *program* with *words*; return the JSON value that it prints.

    Raises OSError, SubprocessError or ValueError if it does not run, or prints something else.
    """
    import json  # noqa: PLC0415 - most answers are cached
    import subprocess  # noqa: PLC0415 - likewise

    answer = subprocess.run(
        [program, *words], capture_output=True, check=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )
    return json.loads(answer.stdout)


def ask_json_or_none(program: str, *words: str) -> Any:  # noqa: ANN401 - likewise
    """Return the result of `ask_json`, or None if it raises."""
    import subprocess  # noqa: PLC0415 - likewise

    try:
        return ask_json(program, *words)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def cached_answer(program: str, question: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the answer of the interpreter *program* to *question*, from the cache or by *ask*.

    None is not cached. The answer of a script is not cached either: the script may start another interpreter
    in another folder.
    """
    try:
        identity = _identity(program)
    except OSError:
        return ask()
    state = f"{identity} {question}"
    answer = read_value("interpreter", state)
    if answer is None:
        answer = ask()
        if answer is not None and not _is_script(program):
            write_value("interpreter", state, answer)
    return answer


def _identity(program: str) -> list[Any]:
    """Return the key of an answer: the file, the machine, and its C library."""
    status = os.stat(program)
    system = os.uname()
    library = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    return [
        _FORMAT,
        program,
        os.path.realpath(program),
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        *(system.sysname, system.release, system.version, system.machine),
        library,
    ]


def _is_script(program: str) -> bool:
    with open(program, "rb") as stream:
        return stream.read(2) == b"#!"
