"""Commands that make environments follow a lock: sync; and the lock itself: lock."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.frame import DistInfo, DryRun, LinkModeOption, Session, app, command

LockArgument = Annotated[
    str | None,
    typer.Argument(metavar="[LOCK]", help="The lock file; the nearest one upward when none is named."),
]
Environment = Annotated[str, typer.Option("--env", metavar="DIR", help="The environment.")]
Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PYTHON", help="For a new environment: 3.12, or a path."),
]
Extras = Annotated[
    list[str] | None, typer.Option("--extra", metavar="NAME", help="Also this extra of the project.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="NAME", help="Also this dependency group.")
]
NoDefaultGroups = Annotated[bool, typer.Option("--no-default-groups", help="No group but those named.")]
Packages = Annotated[
    list[str] | None,
    typer.Option("--package", metavar="NAME", help="This member of uv's workspace, not the project here."),
]
AllPackages = Annotated[bool, typer.Option("--all-packages", help="Every member of uv's workspace.")]
PreferStored = Annotated[
    bool, typer.Option("--prefer-stored", help="A wheel that the store has, though not the best.")
]
TrustAdopted = Annotated[
    bool, typer.Option("--trust-adopted", help="Files adopted from environments count for the lock's.")
]
NoCompile = Annotated[
    bool, typer.Option("--no-compile", help="No bytecode; Python makes it at the first import.")
]
Clobber = Annotated[
    bool, typer.Option("--clobber", help="Two distributions with one path: the later one wins.")
]


@command(app, "sync")
def sync_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    lock: LockArgument = None,
    environment: Environment = ".venv",
    python: Python = None,
    link_mode: LinkModeOption = "auto",
    extras: Extras = None,
    groups: Groups = None,
    no_default_groups: NoDefaultGroups = False,
    packages: Packages = None,
    all_packages: AllPackages = False,
    prefer_stored: PreferStored = False,
    trust_adopted: TrustAdopted = False,
    no_compile: NoCompile = False,
    clobber: Clobber = False,
    dist_info: DistInfo = None,
    dry_run: DryRun = False,
) -> int:
    """Make an environment exactly what a lock file says.

    Examples:

      pipm sync

      pipm sync uv.lock --env .venv --group dev

    Adds, replaces and removes, out of the store; makes the environment if it is missing. What the store has
    needs no network; pip fetches or builds the rest. pip itself stays where it is.
    """
    from pipm.ui.syncing import SyncArguments, sync_environment

    return sync_environment(
        session.output,
        session.store,
        SyncArguments(
            lock=lock,
            environment=environment,
            python=python,
            link_mode=link_mode,
            extras=tuple(extras or ()),
            groups=tuple(groups or ()),
            default_groups=not no_default_groups,
            packages=tuple(packages or ()),
            all_packages=all_packages,
            prefer_stored=prefer_stored,
            trust_adopted=trust_adopted,
            compiled=not no_compile,
            clobber=clobber,
            dist_info=dist_info,
            dry_run=dry_run,
        ),
    )


@command(app, "lock")
def lock_command(
    session: Session,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="pyproject.toml or a file of requirements."),
    ] = None,
    to: Annotated[
        str, typer.Option("-o", "--output", metavar="LOCK", help="pylock.toml or pylock.NAME.toml.")
    ] = "pylock.toml",
    environment: Environment = ".venv",
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PYTHON", help="Lock for 3.12, or a path; else --env's."),
    ] = None,
    extras: Extras = None,
    groups: Groups = None,
) -> int:
    """Write pylock.toml for a project or a file of requirements.

    Examples:

      pipm lock

      pipm lock requirements.in -o pylock.tools.toml

    uv makes it where it is on PATH, for every platform; else pip, for this interpreter. Without FILE it is
    pyproject.toml, requirements.in or requirements.txt of this folder.
    """
    from pipm.ui.locking import lock_project

    return lock_project(
        session.output,
        source,
        to,
        python=python,
        environment=environment,
        extras=extras or [],
        groups=groups or [],
    )
