"""Deciding whether to run an environment's interpreter, and to follow a lock that the user did not name.

Root runs nothing that another user can change: the interpreter, the files that select its standard library
(pyvenv.cfg and the home named there), and the folders above them. Other users do not run environments of
other users; the base interpreter of their own environment is their choice.

Each `pipm run` imports this, so it must not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import os

from pipm.errors import InterpreterError, LockError
from pipm.fs.trust import changed_by_others, foreign_part, is_owned, user_name

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 1 << 16
"""The most bytes of a pyvenv.cfg that are read."""
_MARKERS = ("pyvenv.cfg", "conda-meta")
_AT_START = frozenset({"sitecustomize.py", "sitecustomize", "usercustomize.py", "usercustomize", "pip"})


def refusal(python: str) -> InterpreterError | None:
    """Return the error that says why the interpreter at *python* is not run; None if it may be run."""
    path = os.path.abspath(python)
    if os.geteuid() == 0:
        foreign = next(filter(None, map(foreign_part, _deciding(path))), None)
    else:
        foreign = next((part for part in _own(path) if os.path.lexists(part) and not is_owned(part)), None)
    if foreign is None:
        return None
    try:
        owner = os.lstat(foreign).st_uid
    except OSError:
        owner = 0
    if is_owned(foreign):
        return InterpreterError(
            f"{python} is not run: other users can write to {foreign}", hint=f"chmod go-w {foreign}"
        )
    return InterpreterError(
        f"{python} is not run: {'it' if foreign == path else foreign} belongs to another user",
        hint=f"run pipm as that user: sudo -u {user_name(owner)} pipm; or, if that is you (a container):"
        f" export PIPM_TRUSTED_USERS={owner}",
    )


def check_runnable(python: str) -> None:
    """Raise InterpreterError if the interpreter at *python* must not be run."""
    refused = refusal(python)
    if refused is not None:
        raise refused


def check_found(lock: str) -> None:
    """Raise LockError if another user can change the *lock*, which pipm found and the user did not name.

    A lock decides which code is installed. A user who runs a program below a folder that all users can write
    to does not want a lock that somebody put there (as for git's safe.directory).
    """
    foreign = changed_by_others(lock)
    if foreign is None:
        return
    owner = os.lstat(foreign).st_uid
    is_mine = " can be written by other users" if is_owned(foreign) else " belongs to another user"
    raise LockError(
        f"{lock} is not used: {'it' if foreign == lock else foreign}{is_mine}",
        hint="if you trust it, name it: pipm sync LOCK, pipm run --lock LOCK (without a lock: --no-lock);"
        f" or, if you are that user (a container): export PIPM_TRUSTED_USERS={owner}",
    )


def _deciding(python: str) -> Iterator[str]:
    """Yield the files and folders that decide which code the interpreter *python* runs.

    Each start of Python reads path files and sitecustomize of site-packages, and ``-m pip`` its pip.
    """
    yield python
    yield from _own(python, _MARKERS)
    yield from _started(python)
    for folder in dict.fromkeys((python, os.path.realpath(python))):
        for above in (os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
            if os.path.lexists(f"{above}/pyvenv.cfg"):
                yield f"{above}/pyvenv.cfg"
                yield from _homes(f"{above}/pyvenv.cfg")


def _started(python: str) -> Iterator[str]:
    """Yield the files in the site-packages of *python*'s environment that run at a start, and its pip."""
    for folder in _own(python, _MARKERS):
        if os.path.basename(folder) != "site-packages":
            continue
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith((".pth", ".start")) or name in _AT_START:
                yield f"{folder}/{name}"


def _homes(configuration: str) -> Iterator[str]:
    """Yield the folder that pyvenv.cfg names as home (PEP 405)."""
    try:
        file = os.open(configuration, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb") as stream:
            lines = stream.read(_LARGEST).splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(b"=")
        home = os.fsdecode(value.strip())
        if key.strip().lower() == b"home" and os.path.isabs(home):
            yield home


def _own(python: str, markers: tuple[str, ...] = ("pyvenv.cfg",)) -> Iterator[str]:
    """Yield the parts of *python*'s environment whose owners matter; nothing if it is not in one."""
    folder = os.path.dirname(python)
    environment = os.path.dirname(folder)
    marker = next((name for name in markers if os.path.lexists(f"{environment}/{name}")), None)
    if marker is None:
        return
    yield from (environment, f"{environment}/{marker}", folder, python, f"{environment}/lib")
    try:
        libraries = [f"{environment}/lib/{name}" for name in os.listdir(f"{environment}/lib")]
    except OSError:
        return
    for library in libraries:
        yield from (library, f"{library}/site-packages")
