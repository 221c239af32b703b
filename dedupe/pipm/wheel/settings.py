"""Selecting the settings of pip that are used when pipm runs pip.

What pip is called for, and where the result goes, is decided by the lock and by the command of pipm. So
settings count only where they say how archives are reached and built. They are read from pip's files and
variables, and given to pip as variables, which other users do not see; its files are switched off.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from pipm.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SOURCES = "where archives are is the user's to say, wherever the lock does not"
_NETWORK = "how the network is reached"
_SPEED = "what was fetched before"
_BUILDING = "whether and how something may be built"
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
"""Settings that are used, and why. All others would change what is installed, or where.

Such are prefix, root, target, user, src, dest, python, platform, constraint, requirement, editable, pre,
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
"""Settings that are also used to make a lock, because there pip chooses the versions."""

_SECTIONS = ("global", "install")
"""Sections of pip's files that count: pipm installs, whichever command of pip it calls for that."""

_HINT = "`pip config debug` names the files that pip reads"
_FILE = re.compile(r"\s+(?P<path>.+), exists: True")


def environ_for_pip(command: tuple[str, ...], *, resolving: bool = False) -> dict[str, str]:
    """Return the environment for the pip that *command* runs: the user's, with the settings that count."""
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
    """Return the settings in pip's files, what counts more behind what counts less."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(command):
        parser = configparser.RawConfigParser()
        try:
            with open(path, encoding="utf-8") as stream:
                parser.read_file(stream)
        except (OSError, configparser.Error, UnicodeDecodeError) as error:
            # pip goes no further, either: without its settings it would ask another index.
            raise FetchError(f"pip's settings in {path} cannot be read: {error}", hint=_HINT) from error
        for section in _SECTIONS:
            if parser.has_section(section):
                for name, value in parser.items(section):
                    if value:
                        found[section][name.lower().replace("_", "-").removeprefix("--")] = value
    return tuple(pair for section in _SECTIONS for pair in found[section].items())


def _files(command: tuple[str, ...]) -> list[str]:
    """Return the files that pip reads, in the order in which they count."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    if "PIP_CONFIG_FILE" in os.environ:
        kept["PIP_CONFIG_FILE"] = os.environ["PIP_CONFIG_FILE"]
    done = subprocess.run(
        [*command, "config", "debug"],
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,  # Ctrl-C is ours to handle: pip that dies of it says nothing of its settings
    )
    if done.returncode:
        raise FetchError("pip cannot read its settings", hint=_HINT, details=done.stdout + done.stderr)
    groups: dict[str, list[str]] = {}
    group = ""
    for line in done.stdout.splitlines():
        if not line.startswith(" "):
            group = line.strip().removesuffix(":")
        elif (match := _FILE.fullmatch(line)) is not None:
            groups.setdefault(group, []).append(match["path"])
    return [path for name in ("global", "user", "site", "env") for path in groups.get(name, [])]
