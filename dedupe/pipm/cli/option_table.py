"""The options of the commands that start without typer. Written by scripts/option-table; do not edit.

A value of an option table is the name of the argument that the option sets, and what it sets it to: None
stands for the word that follows, an empty list for all such words. The row "" is for words without option.
"""

from __future__ import annotations

from pipm.cli.arguments import Arguments

COMMON: dict[str, tuple[str, object]] = {
    "-q": ("quiet", 1),
    "--quiet": ("quiet", 1),
    "-qq": ("quiet", 2),
    "-v": ("verbose", True),
    "--verbose": ("verbose", True),
    "--json": ("json", True),
    "--store": ("store", None),
    "--color": ("color", None),
}

ADOPT: dict[str, tuple[str, object]] = {
    "": ("environments", []),
    "--all": ("below", []),
    "--dist": ("names", []),
    "--exclude": ("exclude", []),
    "--link-mode": ("link_mode", None),
    "--compile": ("compile_missing", True),
    "--wrap-pip": ("wrap", True),
    "--no-wrap-pip": ("wrap", False),
    "--dist-info": ("dist_info", True),
    "--no-dist-info": ("dist_info", False),
    "-n": ("dry_run", True),
    "--dry-run": ("dry_run", True),
}


class AdoptArguments(Arguments):
    """The arguments of `pipm adopt`."""

    environments: list[str] | None = None
    below: list[str] | None = None
    names: list[str] | None = None
    exclude: list[str] | None = None
    link_mode: str = ""
    compile_missing: bool = False
    wrap: bool | None = None
    dist_info: bool | None = None
    dry_run: bool = False


RUN: dict[str, tuple[str, object]] = {
    "": ("program", []),
    "--lock": ("lock", None),
    "--no-lock": ("no_lock", True),
    "--with": ("specs", []),
    "-w": ("specs", []),
    "--refresh": ("refresh", True),
    "--env": ("environments", []),
    "-e": ("environments", []),
    "--python": ("python", None),
    "-p": ("python", None),
    "--script": ("script", True),
}


class RunArguments(Arguments):
    """The arguments of `pipm run`."""

    program: list[str] | None = None
    lock: str | None = None
    no_lock: bool = False
    specs: list[str] | None = None
    refresh: bool = False
    environments: list[str] | None = None
    python: str | None = None
    script: bool = False


SYNC: dict[str, tuple[str, object]] = {
    "": ("lock", None),
    "--env": ("environment", None),
    "--python": ("python", None),
    "--link-mode": ("link_mode", None),
    "--extra": ("extras", []),
    "--group": ("groups", []),
    "--no-default-groups": ("no_default_groups", True),
    "--package": ("packages", []),
    "--all-packages": ("all_packages", True),
    "--prefer-stored": ("prefer_stored", True),
    "--trust-adopted": ("trust_adopted", True),
    "--compile": ("compiled", True),
    "--no-compile": ("compiled", False),
    "--clobber": ("clobber", True),
    "--dist-info": ("dist_info", True),
    "--no-dist-info": ("dist_info", False),
    "--check": ("check", True),
    "--frozen": ("frozen", True),
    "-n": ("dry_run", True),
    "--dry-run": ("dry_run", True),
}


class SyncArguments(Arguments):
    """The arguments of `pipm sync`."""

    lock: str | None = None
    environment: str = ".venv"
    python: str | None = None
    link_mode: str = ""
    extras: list[str] | None = None
    groups: list[str] | None = None
    no_default_groups: bool = False
    packages: list[str] | None = None
    all_packages: bool = False
    prefer_stored: bool = False
    trust_adopted: bool = False
    compiled: bool | None = None
    clobber: bool = False
    dist_info: bool | None = None
    check: bool = False
    frozen: bool = False
    dry_run: bool = False
