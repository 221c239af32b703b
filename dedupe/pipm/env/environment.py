"""An environment: a folder with ``pyvenv.cfg`` (PEP 405), or another place with packages."""

from __future__ import annotations

import errno
import os
import stat

from pipm.core.named_tuple import NamedTuple
from pipm.env.find_program import which
from pipm.env.places import (
    CONDA,
    CONFIGURATION,
    INTERPRETER,
    interpreter_of_library,
    kind_of,
    marker_of,
    version_in_name,
    version_in_path,
)
from pipm.errors import NotAnEnvironmentError, UsageError
from pipm.fs.durability import final_name
from pipm.fs.os_errors import stops_everything

_OF_VENV = frozenset({"bin", "include", "lib", "lib64", CONFIGURATION, ".gitignore", ".pipm"})
_PROGRAM = r"(python|pypy)[\d.]*|activate(\.\w+)?"
_LETTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz+")
_MOST_PARTS, _LONGEST_PART = 6, 20
"""Limits of a version in pyvenv.cfg."""


class Environment(NamedTuple):
    """The facts about an environment that are known without running its interpreter.

    ``path`` is absolute and real. ``python`` is the version of its interpreter, from the interpreter's name
    or from pyvenv.cfg, "" if unknown. If the two differ, ``stated`` is the version in pyvenv.cfg: after
    ``python3.12 -m venv --upgrade`` of an environment of 3.11 the interpreter is the same. ``sites`` are its
    site-packages folders relative to it. ``device``, ``inode`` and ``changed`` (its ctime in ns) are those of
    the marker. If ``relocatable``, its scripts find the interpreter beside them (uv). ``marker`` is
    pyvenv.cfg for a venv and another file or folder for other places (`env.places`); ``kind`` is the kind of
    place.
    """

    path: str
    python: str
    sites: tuple[str, ...]
    owner: int
    device: int
    inode: int
    changed: int = 0
    stated: str = ""
    relocatable: bool = False
    marker: str = CONFIGURATION
    kind: str = "venv"

    @property
    def is_venv(self) -> bool:
        """True for an environment by PEP 405, made by any tool."""
        return self.marker == CONFIGURATION

    @property
    def is_prefix(self) -> bool:
        """True if all files in its folder belong to it; else only those in its site-packages do."""
        return self.marker in (CONFIGURATION, CONDA)

    @property
    def interpreter(self) -> str | None:
        """The path of its interpreter; None if it is missing."""
        if not self.is_prefix:
            own = interpreter_of_library(self.path) if self.kind == INTERPRETER else None
            return own or which(f"python{self.python}")
        for name in ("bin/python", "bin/python3", "bin/pypy3", "Scripts/python.exe"):
            path = f"{self.path}/{name}"
            if os.access(path, os.X_OK):
                return path
        return None

    @property
    def site(self) -> str:
        """The site-packages that its interpreter uses, relative to it."""
        release = ".".join(self.python.split(".")[:2])
        named = (site for site in self.sites if release in map(version_in_name, site.split("/")))
        return next(named, self.sites[0])


def load_environment(path: str) -> Environment:
    """Read the environment at *path*; raise NotAnEnvironmentError with the reason if it is not one."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
        if not stat.S_ISDIR(status.st_mode):
            raise NotAnEnvironmentError(f"{path} is not a folder", hint=_HINT)
        name = marker_of(real) or CONFIGURATION
        configuration, marker = _read_marker(path, real, name)
        sites = tuple(_sites(real)) if name != "lib" else (name,)
    except FileNotFoundError:
        raise NotAnEnvironmentError(f"There is no folder {path}", hint=_HINT) from None
    except NotADirectoryError:
        raise NotAnEnvironmentError(f"{path} is no longer a folder", hint=_HINT) from None
    except PermissionError as error:
        raise NotAnEnvironmentError(
            f"Cannot read {error.filename or path}: permission denied",
            hint="run as the user who owns the environment",
        ) from error
    except OSError as error:
        if stops_everything(error):  # not an error of this environment alone
            raise
        raise NotAnEnvironmentError(
            f"Cannot read {error.filename or path}: {error.strerror}", hint="look at that file or folder"
        ) from error
    version = _stated_version(configuration.get("version") or configuration.get("version_info") or "")
    if not sites:
        raise NotAnEnvironmentError(
            f"{path} has no site-packages of its own", hint="it may be incomplete; create it again"
        )
    environment = Environment(
        path=real,
        python=version or version_in_path(real),
        sites=sites,
        owner=status.st_uid,
        device=marker.st_dev,
        inode=marker.st_ino,
        # In other places each installation changes the marker's ctime.
        changed=marker.st_ctime_ns if name in (CONFIGURATION, CONDA) else 0,
        relocatable=configuration.get("relocatable") == "true",
        marker=name,
        kind=kind_of(real),
    )
    if not environment.is_prefix:
        return environment
    release = version_in_name(os.path.basename(os.path.realpath(environment.interpreter or "")))
    if "." not in release or f"{environment.python}.".startswith(f"{release}."):
        return environment
    return environment._replace(python=release, stated=environment.python)


def _stated_version(text: str) -> str:
    """Return the version at the beginning of *text*: ``3.12.1``, ``3.12.1.final.0``; or "".

    Nothing else may be printed, because another user may own the file.
    """
    parts: list[str] = []
    for part in text.split(".")[:_MOST_PARTS]:
        known = len(part)
        while not _LETTERS.issuperset(part[:known]):
            known -= 1
        if not known or not (parts or part[:known].isdecimal()):
            break
        parts.append(part[: min(known, _LONGEST_PART)])
        if parts[-1] != part:
            break
    return ".".join(parts)


def require_venv(environment: Environment, what: str) -> None:
    """Raise UsageError if *environment* is not a venv, which *what* needs."""
    if not environment.is_venv:
        raise UsageError(
            f"{what} needs a venv, but {environment.path} is of the kind {environment.kind}",
            hint="adopt it by hardlink or reflink, and install with its own tools",
        )


_LARGEST = 1 << 16
"""The most bytes of a pyvenv.cfg; those of venv, virtualenv and uv have 200."""
_HINT = "name a folder made by `python -m venv`, uv, Poetry, PDM, virtualenv or tox"


def is_environment(path: str) -> bool:
    """Return whether *path* looks like an environment, by its ``pyvenv.cfg``."""
    return os.path.isfile(f"{path}/pyvenv.cfg")


def is_half_made(path: str) -> bool:
    """Return whether the directory *path* contains an environment whose creation a crash interrupted.

    This user owns it, it has only files of ``python -m venv --without-pip`` and pipm's own, and a necessary
    one is missing or blank: after a power cut a file may be empty or full of zeros. On btrfs pipm's own files
    can be on disk before the name of ``pyvenv.cfg``, which was renamed earlier.
    """
    names = os.listdir(path)
    if not all(name in _OF_VENV or final_name(name) == CONFIGURATION for name in names):
        return False
    if not os.path.isdir(f"{path}/bin"):
        return False
    if os.stat(path).st_uid != os.geteuid():
        return False
    if any(names for base in ("lib", "include") for _, _, names in os.walk(f"{path}/{base}")):
        return False
    import re  # noqa: PLC0415 - few environments are half made

    names = os.listdir(f"{path}/bin")
    if not all(re.fullmatch(_PROGRAM, name, re.IGNORECASE) for name in names):
        return False
    files = [f"{path}/pyvenv.cfg", *(f"{path}/bin/{name}" for name in names)]
    return not os.access(f"{path}/bin/python", os.X_OK) or any(_is_blank(file) for file in files)


def _is_blank(path: str) -> bool:
    """Return whether the file *path* is missing, empty, or full of zeros."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return not stream.read(_LARGEST).strip(b"\0")
    except FileNotFoundError:
        return True


def _read_marker(path: str, real: str, name: str) -> tuple[dict[str, str], os.stat_result]:
    """Return the pairs in pyvenv.cfg (none for another marker *name*), and the stat of the marker."""
    return _read_configuration(path, real) if name == CONFIGURATION else ({}, os.stat(f"{real}/{name}"))


def _read_configuration(path: str, real: str) -> tuple[dict[str, str], os.stat_result]:
    """Return the pairs in pyvenv.cfg, and its stat. Another user may have put a pipe or a link there."""
    try:
        file = _open_unseen(f"{real}/pyvenv.cfg", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, encoding="utf-8", errors="surrogateescape") as stream:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise NotAnEnvironmentError(f"{path}/pyvenv.cfg is not a regular file", hint=_HINT)
            if status.st_size > _LARGEST:
                raise NotAnEnvironmentError(
                    f"{path}/pyvenv.cfg is larger than {_LARGEST >> 10} KiB", hint=_HINT
                )
            lines = stream.read(_LARGEST).splitlines()
    except FileNotFoundError:
        raise NotAnEnvironmentError(
            f"{path} is not an environment: it has no pyvenv.cfg", hint=_HINT
        ) from None
    except PermissionError:
        raise
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        reason = "is a symbolic link" if is_link else f"cannot be read: {error.strerror}"
        raise NotAnEnvironmentError(
            f"{path}/pyvenv.cfg {reason}", hint="make it a file again, or create the environment again"
        ) from None
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}, status


def _open_unseen(path: str, flags: int) -> int:
    """Open *path* without a change of its access time, which `pipm list` shows as the last use."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only the owner may use O_NOATIME (open(2))
        return os.open(path, flags)


def _sites(real: str) -> list[str]:
    """Find ``lib/python3.12/site-packages`` and similar folders; a symlinked ``lib64`` is skipped."""
    found = []
    for library in ("lib", "lib64"):
        if os.path.islink(f"{real}/{library}") or not os.path.isdir(f"{real}/{library}"):
            continue
        for name in sorted(os.listdir(f"{real}/{library}")):
            site = f"{library}/{name}/site-packages"
            if version_in_name(name) and _is_real_folder(real, site):
                found.append(site)
    others = ("site-packages", "Lib/site-packages")  # PyPy before 3.8; Windows
    return found + [site for site in others if _is_real_folder(real, site)]


def _is_real_folder(real: str, relative: str) -> bool:
    path = real
    for part in relative.split("/"):
        path = f"{path}/{part}"
        if os.path.islink(path) or not os.path.isdir(path):
            return False
    os.listdir(path)  # raise the error for an unreadable folder now
    return True
