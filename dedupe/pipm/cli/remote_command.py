"""The arguments of `pipm push`, `pipm pull` and `pipm key`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import named_environments
from pipm.cli.options import ActiveEnvironment, Session, app, command, key_app

Destination = Annotated[
    str, typer.Argument(metavar="DEST", help="A path, file://, https://, s3://, gs://, az:// or oci://.")
]
Everything = Annotated[bool, typer.Option("--all", help="Everything.")]
TrustAdopted = Annotated[
    bool, typer.Option("--trust-adopted", help="Accept files adopted from environments for the lock's.")
]


@command(app, "push")
def push_command(
    session: Session,
    destination: Destination,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENV|LOCK...]",
            help="What to push; else the nearest lock's distributions.",
            autocompletion=named_environments,
        ),
    ] = None,
    environment: ActiveEnvironment = ".venv",
    everything: Everything = False,
    trust_adopted: TrustAdopted = False,
    prune: Annotated[
        int | None,
        typer.Option(
            "--prune",
            metavar="DAYS",
            min=0,
            help="Forget what no push named for DAYS; packs a week later.",
        ),
    ] = None,
) -> int:
    """Copy distributions from the store to a remote, and sign them.

    Examples:

      pipm push s3://bucket/python

      pipm push /mnt/team/python .venv other/pylock.toml

      pipm push s3://bucket/python --prune 90

    It uploads only what the remote lacks. It reads a lock for the interpreter of --env. First make a key:
    pipm key new.
    """
    from pipm.cli.remote_output import RemoteArguments, push

    arguments = RemoteArguments(
        destination, tuple(sources or ()), environment, None, everything, trust_adopted, prune
    )
    return push(session.output, session.store, arguments)


@command(app, "pull")
def pull_command(
    session: Session,
    destination: Destination,
    locks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOCK...]", help="Lock files; else the nearest one upward."),
    ] = None,
    environment: ActiveEnvironment = ".venv",
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PYTHON", help="If there is no --env yet: 3.12, or a path."),
    ] = None,
    everything: Everything = False,
    trust_adopted: TrustAdopted = False,
) -> int:
    """Copy distributions from a remote to the store.

    Examples:

      pipm pull s3://bucket/python

      pipm pull https://example.org/python pylock.toml --python 3.12

    It downloads only what the store lacks, and accepts only what a trusted key signed: pipm key trust KEY.
    With PIPM_REMOTE=DEST `pipm sync` pulls by itself.
    """
    from pipm.cli.remote_output import RemoteArguments, pull

    arguments = RemoteArguments(
        destination, tuple(locks or ()), environment, python, everything, trust_adopted
    )
    return pull(session.output, session.store, arguments)


@command(key_app, "new")
def key_new_command(session: Session) -> int:
    """Make the key that signs your pushes, and trust it."""
    from pipm.remote.keys import new_key, secret_path

    return _show(session, "new", new_key().text, f"the secret part is in {secret_path()}")


@command(key_app, "show")
def key_show_command(session: Session) -> int:
    """Print your public key."""
    from pipm.remote.keys import signing_key

    return _show(session, "show", signing_key().public.text)


@command(key_app, "trust")
def key_trust_command(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The output of `pipm key show`.")],
) -> int:
    """Trust another key."""
    from pipm.remote.keys import trust_key, trusted_path

    return _show(session, "trust", trust_key(key).text, f"added to {trusted_path()}")


def _show(session: Session, verb: str, key: str, note: str = "") -> int:
    if session.output.json:
        session.output.document(f"key {verb}", {"key": key})
    else:
        session.output.data(key)
    if note:
        session.output.note("note", note)
    return 0
