"""Environments behind `pipm run`: made of almost no files, kept by what they were asked for (design D15).

Theory of operation. What is asked for (a lock's bytes, requirements, the interpreter, the store) has a
digest, and an environment of that name lies in the cache: a lock that changes takes nothing from programs
that run. Requirements are resolved once, into a lock that lies in the cache likewise. Both are found again
by reading a few small files: a warm `pipm run` imports this module and no other that is large, so nothing
here may import what takes milliseconds (dataclasses, typing, re). `ops.running.making` has how they are made.
"""

from __future__ import annotations

import os

from pipm.core.sha256 import sha256
from pipm.env.find_program import which
from pipm.env.pyenv_shims import behind_shim
from pipm.errors import StoreError
from pipm.fs.in_use import hold
from pipm.fs.trust import foreign_part, is_foreign, is_owned
from pipm.lockfile.find_lock import lock_content
from pipm.store.paths import READY, cache_folder, environments_folder, locks_folder

TYPE_CHECKING = False  # typing's takes its import

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.context.progress import Progress
    from pipm.run.run_request import Wish

_FORMAT = 2
_ATTEMPTS = 3


def environment_for(wish: Wish, progress: Callable[[], Progress]) -> str:
    """Return the environment of *wish*, made if need be; it stays while this process or its program runs.

    Raises PipmError.
    """
    for folder in (cache_folder(), environments_folder(), locks_folder()):
        _check_ours(folder)
    interpreter = _interpreter_mark(wish)
    asked = _digest(
        wish.store,
        interpreter,
        wish.lock and f"{wish.lock}\0{lock_content(wish.lock)}",
        *(f"member {name}" for name in wish.members),
        *wish.specs,
        *(local for spec in wish.specs if (local := _time_of(spec))),
        "script",
        wish.block,
        "below",
        *(part for path in wish.below for part in (path, _state_of(path))),
    )
    resolved = f"{locks_folder()}/pylock.{asked}.toml" if wish.resolves else ""
    if resolved and (wish.refresh or hold(resolved) is None):
        from pipm.run.make_environment import resolve  # noqa: PLC0415 - a second run needs none of it

        resolve(wish, resolved, progress())
    key = _digest(asked, resolved and lock_content(resolved))
    path = f"{environments_folder()}/{_printable(wish.name)}-{key}"
    if os.path.lexists(path) and not is_owned(path):
        raise _not_ours(path)
    for _ in range(_ATTEMPTS):  # a collector may take it away before it is held
        if os.access(f"{path}/bin/python", os.X_OK) and hold(f"{path}/{READY}", onwards=True) is not None:
            break
        from pipm.run.make_environment import make  # noqa: PLC0415 - likewise

        make(wish, path, resolved, progress())
    return path


def _check_ours(folder: str) -> None:
    """Raise StoreError where another user can change what lies in *folder*: programs are run from there."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        from pipm.fs.os_errors import explained  # noqa: PLC0415 - ends the run

        raise explained(error, f"use the cache {folder}") from error
    if os.geteuid() == 0:
        part = foreign_part(folder)
        if part is not None:
            raise _not_ours(part)
    elif is_foreign(status):
        raise _not_ours(folder)


def _not_ours(path: str) -> StoreError:
    if is_owned(path):
        return StoreError(
            f"Other users can write to {path}: nothing in the cache there is run", hint=f"chmod go-w {path}"
        )
    return StoreError(
        f"{path} belongs to another user: nothing in the cache there is run",
        hint="remove it, or export XDG_CACHE_HOME=/a/folder/of/your/own",
    )


def _digest(*parts: str | bytes) -> str:
    state = sha256(b"%d" % _FORMAT)
    for part in parts:
        data = part if isinstance(part, bytes) else os.fsencode(part)
        state.update(b"%d:%b" % (len(data), data))
    return state.hexdigest()[:16]


def _printable(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "-" for char in name)


def _time_of(spec: str) -> str:
    """A folder or archive on this disk is another one when its time is another."""
    if "/" not in spec:
        return ""
    try:
        return str(os.stat(spec.rpartition("@")[2].strip().removeprefix("file://")).st_mtime_ns)
    except OSError:
        return ""


def _state_of(path: str) -> str:
    """What changes when something is installed into the environment at *path*, or uninstalled."""
    times = []
    for folder in (f"{path}/bin", *_sites(path)):
        try:
            times.append(str(os.stat(folder).st_mtime_ns))
        except OSError:
            continue
    return " ".join(times)


def _sites(path: str) -> list[str]:
    try:
        return [f"{path}/lib/{name}/site-packages" for name in sorted(os.listdir(f"{path}/lib"))]
    except OSError:
        return []


def _interpreter_mark(wish: Wish) -> str:
    """What is another when ``python3`` or what was named instead is another interpreter."""
    python = wish.python
    if python is None:
        python = f"{wish.below[0]}/bin/python" if wish.below else "python3"
    path = which(python)
    program = None if path is None else behind_shim(path)
    if program is None:  # a version, perhaps, which is looked for elsewhere, too
        return python
    real = os.path.realpath(program)
    return f"{real} {os.stat(real).st_mtime_ns}"
