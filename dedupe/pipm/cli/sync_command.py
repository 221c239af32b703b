"""The arguments of `pipm sync`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.options import (
    DistInfo,
    DryRun,
    Environment,
    Extras,
    Groups,
    LinkModeOption,
    Session,
    app,
    command,
)

Clobber = Annotated[
    bool, typer.Option("--clobber", help="Two distributions with one path: the later one wins.")
]

Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Wait for all bytecode, or make none.", show_default=False),
]

Check = Annotated[
    bool, typer.Option("--check", help="Change nothing; exit code 1 if something would change.")
]

TrustAdopted = Annotated[
    bool, typer.Option("--trust-adopted", help="Files adopted from environments count for the lock's.")
]

PreferStored = Annotated[
    bool, typer.Option("--prefer-stored", help="A wheel that the store has, though not the best.")
]

AllPackages = Annotated[bool, typer.Option("--all-packages", help="Every member of uv's workspace.")]

Packages = Annotated[
    list[str] | None,
    typer.Option("--package", metavar="NAME", help="This member of uv's workspace, not the project here."),
]

NoDefaultGroups = Annotated[bool, typer.Option("--no-default-groups", help="No group but those named.")]

Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PYTHON", help="For a new environment: 3.12, or a path."),
]

LockArgument = Annotated[
    str | None,
    typer.Argument(metavar="[LOCK]", help="The lock file; the nearest one upward when none is named."),
]


@command(app, "sync")
def sync_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    lock: LockArgument = None,
    environment: Environment = ".venv",
    python: Python = None,
    link_mode: LinkModeOption = "",
    extras: Extras = None,
    groups: Groups = None,
    no_default_groups: NoDefaultGroups = False,
    packages: Packages = None,
    all_packages: AllPackages = False,
    prefer_stored: PreferStored = False,
    trust_adopted: TrustAdopted = False,
    compiled: Compile = None,
    clobber: Clobber = False,
    dist_info: DistInfo = None,
    check: Check = False,
    dry_run: DryRun = False,
) -> int:
    """Make an environment exactly what a lock file says.

    Examples:

      pipm sync

      pipm sync uv.lock --env .venv --group dev

    Adds, replaces and removes, out of the store; makes the environment if it is missing. What the store has
    needs no network; the rest is fetched, or built. pip itself stays where it is.
    """
    arguments = locals()
    from pipm.cli.option_table import SyncArguments
    from pipm.cli.sync_output import sync_environment

    return sync_environment(session.output, session.store, SyncArguments(arguments))
