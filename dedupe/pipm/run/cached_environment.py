"""The cached environments of `pipm run`; their modules stay in the store.

Theory of operation. The digest of a request (a lock's bytes, requirements, the interpreter, the store) names
an environment in the cache. So a changed lock gets another environment, and running programs keep theirs.
Requirements are resolved once, into a lock in the cache. A `pipm run` with a cached environment only reads a
few small files. This module must not import modules that take milliseconds (dataclasses, typing, re).
`run.make_environment` makes environments.
"""

from __future__ import annotations

import os
import time

from pipm.core.sha256 import sha256
from pipm.env.find_program import which
from pipm.env.pyenv_shims import shim_target
from pipm.errors import StoreError
from pipm.fs.in_use import mark_in_use
from pipm.fs.trust import foreign_part, is_foreign, is_owned
from pipm.lockfile.find_lock import lock_content
from pipm.store.paths import READY, environments_folder, locks_folder, run_cache_folder

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.context.progress import Progress
    from pipm.run.run_request import RunRequest

_FORMAT = 2
_DAY = 86400
_ATTEMPTS = 3


def environment_for(
    request: RunRequest, progress: Callable[[], Progress], look: Callable[[str], None] | None = None
) -> str:
    """Return the environment of *request*, made if needed; gc keeps it while its program runs.

    Calls *look* with it before the first use of a day (UTC). Raises PipmError.
    """
    for folder in (run_cache_folder(), environments_folder(), locks_folder()):
        _check_ours(folder)
    interpreter = _interpreter_mark(request)
    asked = _digest(
        request.store,
        interpreter,
        request.lock and f"{request.lock}\0{lock_content(request.lock)}",
        *(f"member {name}" for name in request.members),
        *request.specs,
        *(local for spec in request.specs if (local := _time_of(spec))),
        "script",
        request.block,
        "below",
        *(part for path in request.below for part in (path, _state_of(path))),
    )
    resolved = f"{locks_folder()}/pylock.{asked}.toml" if request.resolves else ""
    if resolved and (request.refresh or mark_in_use(resolved) is None):
        from pipm.run.make_environment import resolve  # noqa: PLC0415 - cached requirements need no resolver

        resolve(request, resolved, progress())
    key = _digest(asked, resolved and lock_content(resolved))
    path = f"{environments_folder()}/{_printable(request.name)}-{key}"
    if os.path.lexists(path) and not is_owned(path):
        raise _not_ours(path)
    is_new_day = look is not None and _day_of_last_use(path) < int(time.time()) // _DAY
    for _ in range(_ATTEMPTS):  # gc may remove it before it is marked as used
        if (
            os.access(f"{path}/bin/python", os.X_OK)
            and mark_in_use(f"{path}/{READY}", onwards=True) is not None
        ):
            break
        from pipm.run.make_environment import make_environment  # noqa: PLC0415 - only if nothing is cached

        make_environment(request, path, resolved, progress())
        is_new_day = False
    if look is not None and is_new_day:
        look(path)
    return path


def _day_of_last_use(path: str) -> int:
    try:
        return int(os.stat(f"{path}/{READY}").st_mtime) // _DAY
    except OSError:
        return 0


def _check_ours(folder: str) -> None:
    """Raise StoreError if another user can change files in *folder*: programs are run from there."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        from pipm.fs.os_errors import explain_os_error  # noqa: PLC0415 - ends the run

        raise explain_os_error(error, f"use the cache {folder}") from error
    if os.geteuid() == 0:
        part = foreign_part(folder)
        if part is not None:
            raise _not_ours(part)
    elif is_foreign(status):
        raise _not_ours(folder)


def _not_ours(path: str) -> StoreError:
    if is_owned(path):
        return StoreError(
            f"Other users can write to {path}: pipm runs nothing from there", hint=f"chmod go-w {path}"
        )
    return StoreError(
        f"{path} belongs to another user: pipm runs nothing from there",
        hint="remove it, or set XDG_CACHE_HOME to a folder of your own",
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
    """Return the modification time of a local folder or archive in *spec*; otherwise ""."""
    if "/" not in spec:
        return ""
    try:
        return str(os.stat(spec.rpartition("@")[2].strip().removeprefix("file://")).st_mtime_ns)
    except OSError:
        return ""


def _state_of(path: str) -> str:
    """Return a text that changes with the distributions of the environment at *path*."""
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


def _interpreter_mark(request: RunRequest) -> str:
    """Return a text that changes if ``python3``, or the named program, becomes another interpreter."""
    python = request.python
    if python is None:
        python = f"{request.below[0]}/bin/python" if request.below else "python3"
    path = which(python)
    program = None if path is None else shim_target(path)
    if program is None:  # maybe a version: `find_interpreter` looks for it later
        return python
    real = os.path.realpath(program)
    return f"{real} {os.stat(real).st_mtime_ns}"
