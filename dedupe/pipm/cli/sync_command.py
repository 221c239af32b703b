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
    bool, typer.Option("--clobber", help="If two distributions have one path, use the later one.")
]

Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile", help="Wait for all bytecode, or compile none.", show_default=False
    ),
]

Check = Annotated[
    bool, typer.Option("--check", help="Change nothing; exit with 1 if something would change.")
]

Frozen = Annotated[
    bool, typer.Option("--frozen", help="Use the lock as it is. A sync always does; for scripts that say so.")
]

TrustAdopted = Annotated[
    bool, typer.Option("--trust-adopted", help="Accept files adopted from environments for the lock's.")
]

PreferStored = Annotated[
    bool, typer.Option("--prefer-stored", help="Prefer a wheel in the store to a better one.")
]

AllPackages = Annotated[bool, typer.Option("--all-packages", help="All members of uv's workspace.")]

Packages = Annotated[
    list[str] | None,
    typer.Option("--package", metavar="NAME", help="This member of uv's workspace instead of this project."),
]

NoDefaultGroups = Annotated[bool, typer.Option("--no-default-groups", help="Only the named groups.")]

Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PYTHON", help="For a new environment: 3.12, or a path."),
]

LockArgument = Annotated[
    str | None,
    typer.Argument(metavar="[LOCK]", help="The lock file; else the nearest one upward."),
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
    frozen: Frozen = False,
    dry_run: DryRun = False,
) -> int:
    """Make an environment contain exactly what a lock file lists.

    Examples:

      pipm sync

      pipm sync uv.lock --env .venv --group dev

    It adds, replaces and removes distributions; it creates a missing environment. It needs no network for
    what the store has; the rest is fetched or built. pip itself stays in the environment. It never
    changes the lock.
    """
    arguments = locals()
    from pipm.cli.option_table import SyncArguments
    from pipm.cli.sync_output import sync_environment

    return sync_environment(session.output, session.store, SyncArguments(arguments))
