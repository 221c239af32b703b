"""The environments of build backends: made once for the requirements of a build, then used offline.

They are in the cache; gc removes those that were not used for long. pip chooses and fetches the requirements
when an environment is made, and not again.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipm.core.pins import Archive, Pin
from pipm.core.sha256 import sha256
from pipm.env.permission import check_runnable
from pipm.errors import BuildError, FetchError
from pipm.fs.flock import locked, locked_folder
from pipm.fs.in_use import mark_in_use
from pipm.fs.opened import opened
from pipm.fs.own_files import add_file, make_folders
from pipm.share.add_wheels import store_wheels
from pipm.store.paths import READY, cache_lock, environments_folder, locks_folder
from pipm.wheel.pip_download import fetch_requirements
from pipm.wheel.run_pip import find_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.core.target import Target
    from pipm.store.layout import Store

_FORMAT = 1


class BuildEnvironments:
    """The build environments of the interpreter *python*; *sync* installs pins into the one at a path.

    The last argument of *sync* is a digest of the environment's content.
    """

    def __init__(
        self,
        store: Store,
        python: str,
        target: Target,
        sync: Callable[[str, list[Pin], str], object],
        stopping: Callable[[], bool],
    ) -> None:
        self._store, self._python, self._target = store, python, target
        self._sync, self._stopping = sync, stopping
        real = os.path.realpath(python)
        self.interpreter = f"{real} {os.stat(real).st_mtime_ns}"
        """A text that changes with the base interpreter."""

    def interpreter_for(self, pin: Pin, requires: Sequence[str]) -> str:
        """Return the interpreter of an environment with *requires*, for the build of *pin*.

        gc keeps the environment until this process ends. Raises BuildError if a requirement is unavailable.
        """
        if os.environ.get("PIP_NO_BUILD_ISOLATION"):
            return self._python
        key = repr((_FORMAT, self._store.path, self.interpreter, pin.index_url, pin.options))
        key = sha256(os.fsencode(key + repr(sorted(requires)))).hexdigest()[:16]
        path = f"{environments_folder()}/build-{key}"
        if mark_in_use(f"{path}/{READY}") is None:
            self._make(pin, requires, path, key)
            mark_in_use(f"{path}/{READY}")
        python = f"{path}/bin/python"
        check_runnable(python)
        return python

    def _make(self, pin: Pin, requires: Sequence[str], path: str, key: str) -> None:
        for folder in (environments_folder(), locks_folder()):
            make_folders(folder)
        with ExitStack() as stack:
            stack.enter_context(locked(cache_lock(), what="the cache", shared=True))
            locks = stack.enter_context(opened(os.open(locks_folder(), os.O_RDONLY | os.O_DIRECTORY)))
            # If several worktrees need it at once, only one asks the index.
            stack.enter_context(locked_folder(locks, what="the environments of build requirements"))
            if not os.path.exists(f"{path}/{READY}"):
                self._sync(path, self._fetched(pin, requires), key)
                add_file(f"{path}/{READY}", b"", 0o600)  # later builds use it without further checks

    def _fetched(self, pin: Pin, requires: Sequence[str]) -> list[Pin]:
        """Fetch *requires* into the store; return pins of the distributions."""
        if not requires:
            return []
        pip = find_pip(self._python, self._target)
        with self._store.run() as (run, run_path):
            try:
                wheels = fetch_requirements(pip, pin, requires, run, run_path, self._stopping)
            except FetchError as error:
                raise BuildError(
                    f"{pin.name} cannot be built: its build requirements ({', '.join(requires)}) are not"
                    f" available: {error.message}",
                    hint=error.hint,
                    details=error.details,
                ) from None
            kept = store_wheels(self._store, run, [(wheel, "") for wheel in wheels])
        pins = []
        for one in kept:
            name, version, _ = one.entry.split("/")
            archive = Archive(os.path.basename(one.path), hashes=(("sha256", one.archive.hex()),))
            pins.append(Pin(name, version, wheels=(archive,), where=f"to build {pin.name}"))
        return pins
