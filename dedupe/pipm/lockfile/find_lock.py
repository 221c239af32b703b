"""Finding the lock of a folder, and computing the digest of its content.

Each `pipm run` imports this module: it must not import modules that take milliseconds (dataclasses, typing,
re).
"""

from __future__ import annotations

import os

from pipm.core.sha256 import sha256
from pipm.errors import LockError

TYPE_CHECKING = False  # importing it from typing takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator

ORDER = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt")
"""Order of preference in one folder: the standard's, then locks for all platforms, requirements.txt last."""


_INCLUDING = (b"-r", b"-c", b"--requirement", b"--constraint")
"""Options of requirements.txt that name another file."""


def find_lock(folder: str) -> str | None:
    """Return the nearest lock in *folder* or above, or None.

    In one folder ORDER decides. ``pylock.NAME.toml`` is never found: only its user knows its purpose.
    """
    here = os.path.realpath(folder)
    while True:
        for name in ORDER:
            if os.path.isfile(f"{here}/{name}"):
                return os.path.join(here, name)
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above


def member_here() -> tuple[str, ...]:
    """Return the name of uv's workspace member in the current folder; empty if there is none.

    Raises LockError for an invalid pyproject.toml.
    """
    found, folder = find_lock(os.getcwd()), os.path.realpath(os.getcwd())
    if found is None or os.path.basename(found) != "uv.lock":
        return ()
    top = os.path.dirname(found)
    while folder.startswith(f"{top}/"):
        if os.path.isfile(f"{folder}/pyproject.toml"):
            from pipm.lockfile.checked_table import load_toml  # noqa: PLC0415 - see above

            name = load_toml(f"{folder}/pyproject.toml").table("project").text("name")
            return (name,) if name else ()
        folder = os.path.dirname(folder)
    return ()


def lock_content(path: str, known: tuple[bytes, bytes] | None = None) -> str:
    """Return the digest of everything that decides what the lock at *path* requires.

    That includes pyproject.toml, where Poetry and PDM keep groups, extras and sources, and for requirements
    the included files and the values of variables. *known* are the lock's bytes and their sha256, if the
    caller has them. Raises LockError if the lock cannot be read.
    """
    if known is None:
        data = read_whole(path)[0]
        known = data, sha256(data).digest()
    data, digest = known
    state = sha256(digest)
    # Most formats need none of them. setup.cfg and setup.py may have the project's name.
    more = ("setup.cfg", "setup.py") if path.endswith(("pdm.lock", "poetry.lock")) else ()
    for name in ("pyproject.toml", *more):
        try:
            with open(os.path.join(os.path.dirname(path), name), "rb") as stream:
                state.update(sha256(stream.read()).digest())
        except OSError:
            continue
    if path.endswith((".txt", ".in")):
        for part in _parts(path, data, {path}):
            state.update(part)
    return state.hexdigest()


def read_whole(path: str) -> tuple[bytes, os.stat_result]:
    """Return the bytes of the lock at *path* and its earlier status; raise LockError if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            return stream.read(), status
    except OSError as error:
        raise LockError(f"Cannot read {path}: {error.strerror}", hint="name a lock file") from error


def _parts(path: str, data: bytes, seen: set[str]) -> Iterator[bytes]:
    """Yield the requirements *data* of *path* with expanded variables, then all files that it includes."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    yield os.path.expandvars(data)
    # If a line only looks like such an option, the digest contains one more file.
    for line in data.splitlines():
        word = line.strip()
        option = next((option for option in _INCLUDING if word.startswith(option)), word)
        names = word[len(option) :].lstrip(b" \t=").split()
        if not names:
            continue
        included = os.path.join(os.path.dirname(path), os.fsdecode(names[0].strip(b"\"'")))
        if included in seen:
            continue
        seen.add(included)
        try:
            with open(included, "rb") as stream:
                content = stream.read()
        except OSError:
            continue  # reading the lock reports it
        yield from _parts(included, content, seen)
