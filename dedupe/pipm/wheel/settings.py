"""Selecting the settings of pip that are used when pipm runs pip.

The lock and pipm's command decide what pip does and where the result goes. So only settings about fetching
and building archives are used. They are read from pip's files and variables, and passed to pip as variables,
which other users cannot read; pip then ignores its files.
"""

from __future__ import annotations

import ast
import os
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from pipm.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SOURCES = "where archives are, unless the lock says it"
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


def environ_for_pip(command: tuple[str, ...], *, resolving: bool = False) -> dict[str, str]:
    """Return the variables for the pip that *command* runs: the user's, with the selected settings."""
    kept = KEPT.keys() | RESOLVING.keys() if resolving else KEPT.keys()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings = dict(_of_files(command)) | dict(_of_variables())
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


@cache
def _of_files(command: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the settings in pip's files; later ones override earlier ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    if "PIP_CONFIG_FILE" in os.environ:
        kept["PIP_CONFIG_FILE"] = os.environ["PIP_CONFIG_FILE"]
    done = subprocess.run(
        [*command, "config", "list"],
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,  # so that only pipm gets Ctrl-C: a pip that it ends would print no settings
    )
    if done.returncode:
        # pip also stops here: without its settings it would use another index.
        raise FetchError("pip cannot read its settings", hint=_HINT, details=done.stdout + done.stderr)
    found: dict[str, list[tuple[str, str]]] = {section: [] for section in _SECTIONS}
    for line in done.stdout.splitlines():  # global.index-url='https://…'
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in found and (text := str(ast.literal_eval(value))):
            found[section].append((name, text))
    return tuple(pair for section in _SECTIONS for pair in found[section])
