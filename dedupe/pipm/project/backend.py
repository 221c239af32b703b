"""Running the hooks of a build backend in an environment with its requirements (PEP 517, PEP 660)."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

from pyproject_hooks import (
    BackendUnavailable,
    BuildBackendHookCaller,
    HookMissing,
)

from pipm.errors import BuildError, InterruptedRunError
from pipm.wheel.run_pip import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipm.core.pins import Pin, SourceFolder
    from pipm.project.build_system import BuildSystem

_LEFT = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
"""Variables that would put modules of another environment first."""


class _HookFailedError(Exception):
    """Raised if a hook fails; its text is the backend's output."""


class Backend:
    """The backend that builds the folder of one pin; the interpreter ``python`` runs its hooks.

    Its temporary files are in *scratch*, a folder of the caller.
    """

    def __init__(
        self, pin: Pin, folder: SourceFolder, system: BuildSystem, scratch: str, stopping: Callable[[], bool]
    ) -> None:
        self.pin, self.system, self.python = pin, system, ""
        self.folder, self._scratch, self._stopping = folder, scratch, stopping
        self._settings = _config_settings(pin.options)
        self._kind = "editable" if folder.editable else "wheel"

    def requirements(self) -> list[str]:
        """Return what the backend needs in addition to the requirements in pyproject.toml."""
        answer = self._call(f"get_requires_for_build_{self._kind}")
        if not isinstance(answer, list) or not all(isinstance(one, str) for one in answer):
            raise self._error(f"its build backend requires {answer!r}, which is not a list of requirements")
        return answer

    def build(self, into: str) -> str:
        """Build the wheel into the folder *into*; return its path."""
        name = self._call(f"build_{self._kind}", into)
        if not isinstance(name, str) or os.path.basename(name) != name or not name.endswith(".whl"):
            raise self._error(f"its build backend returned {name!r}, which is not the file name of a wheel")
        return f"{into}/{name}"

    def _call(self, hook: str, *arguments: str) -> object:
        system = self.system
        try:
            caller = BuildBackendHookCaller(
                self.folder.project,
                system.backend,
                list(system.backend_path),
                runner=self._run,
                python_executable=self.python,
            )
            answer: object = getattr(caller, hook)(*arguments, config_settings=self._settings)
        except _HookFailedError as error:
            if self._stopping():
                raise InterruptedRunError("Interrupted", hint="run the same command again") from None
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise self._error(lines[-1] if lines else f"{hook} failed", str(error)) from None
        except BackendUnavailable as error:
            raise self._error(
                f"its build backend {system.backend} cannot be loaded", f"{error}\n{error.traceback}"
            ) from None
        except HookMissing:
            standard = 660 if self.folder.editable else 517
            raise self._error(f"its build backend {system.backend} has no {hook} (PEP {standard})") from None
        except ValueError as error:  # a backend-path outside of the project, or an answer that is not JSON
            raise self._error(str(error)) from None
        return answer

    def _run(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        programs = os.path.dirname(self.python)
        environ = {name: value for name, value in os.environ.items() if name not in _LEFT}
        path = os.pathsep.join(filter(None, (programs, environ.get("PATH", os.defpath))))
        environ |= {"PATH": path, "VIRTUAL_ENV": os.path.dirname(programs), "TMPDIR": self._scratch}
        code, output = run_to_end(cmd, {**environ, **(extra_environ or {})}, cwd=cwd, stopping=self._stopping)
        if code or self._stopping():
            raise _HookFailedError(output)

    def _error(self, why: str, details: str = "") -> BuildError:
        shown = f"{self.pin.name} {self.pin.version or ''}".rstrip()
        return BuildError(
            f"{shown} cannot be built: {why}",
            hint=f"it is the project in {self.folder.project}; its build backend is {self.system.backend}",
            details=details,
        )


def _config_settings(options: Sequence[str]) -> dict[str, str | list[str]] | None:
    """Return the settings for the backend in *options* of the lock, otherwise in pip's variables."""
    settings: dict[str, str | list[str]] = {}
    pairs = list(pairwise(options))
    texts = [value for name, value in pairs if name == "--config-settings"]
    texts = texts or os.environ.get("PIP_CONFIG_SETTINGS", "").split()
    words = [value for name, value in pairs if name == "--global-option"]
    words = words or os.environ.get("PIP_GLOBAL_OPTION", "").split()
    for text in texts:
        key, _, value = text.partition("=")
        known = settings.get(key)
        if known is None:
            settings[key] = value
        else:
            settings[key] = [*known, value] if isinstance(known, list) else [known, value]
    if words:
        settings["--global-option"] = words
    return settings or None
