"""The request of a `pipm run`.

Each `pipm run` imports this module: it must not import modules that take milliseconds (dataclasses, typing,
re).
"""

from __future__ import annotations

import os

from pipm.env.permission import check_found
from pipm.errors import LockError, UsageError
from pipm.lockfile.find_lock import find_lock, member_here
from pipm.lockfile.inline_script import script_block, script_lock

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence


class RunRequest:
    """The contents that an environment shall have; paths are absolute.

    ``lock`` is a lock file or "". ``specs`` are further requirements. ``script`` has inline metadata (PEP
    723), ``block`` is its text. ``below`` are environments under the new one, the uppermost first.
    ``refresh``: resolve requirements again. ``members`` are members of uv's workspace for which the lock is
    read, instead of the project beside it.
    """

    __slots__ = ("below", "block", "lock", "members", "python", "refresh", "script", "specs", "store")

    def __init__(  # noqa: PLR0913 - see above
        self,
        store: str,
        *,
        lock: str = "",
        specs: tuple[str, ...] = (),
        script: str = "",
        block: bytes = b"",
        below: tuple[str, ...] = (),
        python: str | None = None,
        refresh: bool = False,
        members: tuple[str, ...] = (),
    ) -> None:
        self.store = store
        self.lock = lock
        self.specs = specs
        self.script = script
        self.block = block
        self.below = below
        self.python = python
        self.refresh = refresh
        self.members = members

    @property
    def name(self) -> str:
        """The readable part of the environment's folder name."""
        if self.script:
            return os.path.basename(self.script).removesuffix(".py")
        if self.lock:
            return os.path.basename(os.path.dirname(self.lock)) or "root"
        return "with"

    @property
    def resolves(self) -> bool:
        """True if there are requirements to resolve."""
        return bool(self.specs) or bool(self.block and not self.lock)


def run_request(  # noqa: PLR0913 - the options of a command
    store: str,
    *,
    lock: str | None,
    search: bool,
    specs: Sequence[str],
    script: str,
    below: tuple[str, ...],
    python: str | None,
    refresh: bool,
) -> RunRequest | None:
    """Return the request; None if the options name only one existing environment.

    Without *lock* the script's metadata is used, otherwise (if *search* and no environment is named) the
    nearest lock in this folder or above. Raises PipmError if there is none of these.
    """
    block = script_block(script) if script else None
    members: tuple[str, ...] = ()
    if lock is not None:
        lock = os.path.realpath(lock)
    elif block is not None:
        lock = script_lock(script) if search else None
    elif not below:
        lock = find_lock(os.getcwd()) if search else None
        if lock is not None:
            check_found(lock)
        members = member_here() if lock is not None else ()
        if lock is None and not specs:
            raise _nothing(search=search)
    if len(below) == 1 and lock is None and block is None and not specs:
        return None
    return RunRequest(
        store,
        lock=lock or "",
        specs=tuple(map(_absolute, specs)),
        script=script if block is not None else "",
        block=block or b"",
        below=below,
        python=python,
        refresh=refresh,
        members=members,
    )


def _nothing(*, search: bool) -> LockError | UsageError:
    if not search:
        return UsageError("--no-lock excludes the only source of packages", hint='add --with "rich>=13"')
    return LockError(
        "There is no lock file here or in any folder above",
        hint="name requirements (--with SPEC), a lock (--lock LOCK) or an environment (--env DIR)",
    )


def _absolute(spec: str) -> str:
    """Return the absolute path of a local folder or archive, or *spec* itself if it is a requirement."""
    name = spec.partition("[")[0]
    is_path = name.startswith((".", "/")) or (name.endswith((".whl", ".tar.gz")) and "@" not in name)
    if is_path and not os.path.exists(name):
        raise UsageError(f"There is no {name}", hint='--with takes requirements like "rich>=13", or paths')
    return os.path.abspath(spec) if is_path else spec
