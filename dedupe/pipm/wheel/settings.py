"""Selecting the settings of pip that are used when pipm runs pip.

The lock and pipm's command decide what pip does and where the result goes. So only settings about fetching
and building archives are used. They are read from pip's files and variables, and passed to pip as variables,
which other users cannot read; pip then ignores its files.
"""

from __future__ import annotations

import configparser
import locale
import os
import sys
from typing import TYPE_CHECKING

from pipm.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SOURCES = "where archives are, unless the lock has the place"
_NETWORK = "how to reach the network"
_SPEED = "where fetched archives are cached"
_BUILDING = "whether and how to build"
_TALK = "where pip writes its log"

KEPT: Mapping[str, str] = {
    "index-url": _SOURCES,
    "extra-index-url": _SOURCES,
    "find-links": _SOURCES,
    "no-index": _SOURCES,
    "trusted-host": _NETWORK,
    "proxy": _NETWORK,
    "no-proxy-env": _NETWORK,
    "cert": _NETWORK,
    "client-cert": _NETWORK,
    "keyring-provider": _NETWORK,
    "timeout": _NETWORK,
    "default-timeout": _NETWORK,
    "retries": _NETWORK,
    "resume-retries": _NETWORK,
    "use-feature": _NETWORK,
    "use-deprecated": _NETWORK,
    "cache-dir": _SPEED,
    "no-cache-dir": _SPEED,
    "no-binary": _BUILDING,
    "only-binary": _BUILDING,
    "build-constraint": _BUILDING,
    "no-build-isolation": _BUILDING,
    "build-isolation": _BUILDING,
    "config-settings": _BUILDING,
    "config-setting": _BUILDING,
    "global-option": _BUILDING,
    "log": _TALK,
}
"""Settings that are used, and why. Others would change what is installed, or where.

Examples are prefix, root, target, user, src, dest, python, platform, constraint, requirement, editable, pre,
upgrade, force-reinstall, dry-run, report, no-deps, require-hashes, require-virtualenv, quiet and verbose.
"""

RESOLVING: Mapping[str, str] = {
    "constraint": "which versions may be chosen",
    "pre": "which versions may be chosen",
    "prefer-binary": "which versions may be chosen",
    "uploaded-prior-to": "which versions may be chosen",
    "all-releases": "which versions may be chosen",
    "only-final": "which versions may be chosen",
}
"""Settings that are also used when pipm makes a lock, because then pip chooses the versions."""

_SECTIONS = ("global", "install")
"""Sections of pip's files that are used: pipm installs, whichever command of pip it runs for that."""

_HINT = "`pip config debug` lists the files that pip reads"


def environ_for_pip(python: str, *, resolving: bool = False) -> dict[str, str]:
    """Return the variables for a pip that runs on *python*: the user's, with the selected settings."""
    kept = KEPT.keys() | RESOLVING.keys() if resolving else KEPT.keys()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings = dict(_of_files(python)) | dict(_of_variables())
    for name, value in settings.items():
        if name in kept:
            environ[f"PIP_{name.replace('-', '_').upper()}"] = value
    return environ | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COLOR": "1",
        "PIP_NO_INPUT": "1",
    }


def _of_variables() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            yield name.removeprefix("PIP_").lower().replace("_", "-"), value


class _Parser(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr.lower().replace("_", "-").removeprefix("--")


def _of_files(python: str) -> Iterator[tuple[str, str]]:
    """Yield the settings in pip's files; later ones override earlier ones."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in filter(os.path.exists, _files(python)):
        parser = _Parser()
        try:
            parser.read(path, encoding="utf-8" if sys.flags.utf8_mode else locale.getencoding())
        except (configparser.Error, UnicodeError) as error:
            # pip also stops here: without its settings it would use another index.
            raise FetchError(
                f"pip cannot read its settings in {path}", hint=_HINT, details=f"{error}\n"
            ) from error
        for section, settings in found.items():
            if parser.has_section(section):
                settings.update((name, value) for name, value in parser.items(section) if value)
    for settings in found.values():
        yield from settings.items()


def _files(python: str) -> list[str]:
    """Return the paths of pip's files for an interpreter; later ones override earlier ones."""
    own = os.environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        support = "Library/Application Support/pip"
        shared = [f"/{support}"]
        user = f"{home}/{support}" if os.path.isdir(f"{home}/{support}") else f"{home}/.config/pip"
    else:
        folders = os.environ.get("XDG_CONFIG_DIRS", "").strip() or "/etc/xdg"
        shared = [*(f"{folder}/pip" for folder in folders.split(os.pathsep)), "/etc"]
        user = f"{os.environ.get('XDG_CONFIG_HOME', '').strip() or f'{home}/.config'}/pip"
    users = [] if own and os.path.exists(own) else [f"{home}/.pip", user]
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    if not os.path.exists(f"{prefix}/pyvenv.cfg"):
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    return [*(f"{folder}/pip.conf" for folder in (*shared, *users, prefix)), *([own] if own else [])]
