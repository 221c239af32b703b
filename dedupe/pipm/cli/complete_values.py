"""Values that a shell completes; imported only when a shell asks for them."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def link_modes() -> list[str]:
    """Return the values of --link-mode."""
    from pipm.fs.link_modes import LinkMode  # noqa: PLC0415 - only a shell that completes asks

    return ["auto", *(mode.value for mode in LinkMode)]


def help_subjects() -> list[str]:
    """Return the arguments of `pipm help`."""
    from pipm.cli.help_topics import topics  # noqa: PLC0415 - likewise

    return topics()


def sort_keys() -> list[str]:
    """Return the values of --sort."""
    from pipm.cli.usage_output import SORTS  # noqa: PLC0415 - likewise

    return [*SORTS]


def colors() -> list[str]:
    """Return the values of --color."""
    return ["auto", "always", "never"]


def stored_names() -> list[str]:
    """Return the names of the store's distributions."""
    from pipm.store.paths import store_path  # noqa: PLC0415 - likewise

    return _names(f"{store_path(None)}/v1/wheels")


def named_environments(incomplete: str) -> list[str]:
    """Return the named environments, after an "@"; without it the shell completes paths."""
    from pipm.store.paths import named_environments_folder  # noqa: PLC0415 - likewise

    if not incomplete.startswith("@"):
        return []
    return [f"@{name}" for name in _names(named_environments_folder())]


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def join_words_of_bash(environ: MutableMapping[str, str]) -> None:
    """Join the names that bash has split after "@" (COMP_WORDBREAKS)."""
    words = environ["COMP_WORDS"].split("\n")[: int(environ["COMP_CWORD"]) + 1]
    while "@" in words[:-1]:
        at = words.index("@")
        words[at : at + 2] = ["@" + words[at + 1]]
    environ["COMP_WORDS"], environ["COMP_CWORD"] = "\n".join(words), str(len(words) - 1)
