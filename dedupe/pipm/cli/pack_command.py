"""The arguments of `pipm store pack`, `pipm store mount` and `pipm layers`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.complete_values import named_environments
from pipm.cli.options import ActiveEnvironment, Session, app, command, store_app

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ENV|LOCK...]",
        help="What to pack; else the nearest lock's distributions.",
        autocompletion=named_environments,
    ),
]
Python = Annotated[
    str | None,
    typer.Option("--python", metavar="PYTHON", help="If there is no --env yet: 3.12, or a path."),
]
Everything = Annotated[bool, typer.Option("--all", help="Everything in the store.")]


@command(store_app, "pack")
def store_pack_command(
    session: Session,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="IMAGE", help="NAME.squashfs, NAME.erofs or a directory.")
    ],
    sources: Sources = None,
    environment: ActiveEnvironment = ".venv",
    python: Python = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="DIR", help="An environment for use at DIR, instead of a store."),
    ] = None,
    everything: Everything = False,
) -> int:
    """Write a read-only image of distributions with their bytecode.

    Examples:

      pipm store pack pylock.toml -o site.squashfs

      pipm store pack pylock.toml -o env.squashfs --prefix /opt/env

    PIPM_STORE_LAYERS names the folders where stores are mounted. The same distributions give the same bytes.
    """
    from pipm.cli.pack_output import pack
    from pipm.cli.remote_output import RemoteArguments

    arguments = RemoteArguments("", tuple(sources or ()), environment, python, everything)
    return pack(session.output, session.store, arguments, output, prefix)


@command(store_app, "mount")
def store_mount_command(
    session: Session,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image from `pipm store pack`.")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where to mount it.")],
) -> int:
    """Print the command that mounts an image."""
    from pipm.cli.pack_output import show_mount

    return show_mount(session.output, image, directory)


@command(app, "layers")
def layers_command(  # noqa: PLR0913, PLR0917 - typer reads options off the parameters
    session: Session,
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="A new OCI image layout.")],
    sources: Sources = None,
    environment: ActiveEnvironment = ".venv",
    python: Python = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="DIR", help="Where the environment is in the image.")
    ] = "/opt/venv",
    home: Annotated[
        str, typer.Option("--home", metavar="DIR", help="The path of Python in the image.")
    ] = "/usr/local/bin",
    most: Annotated[
        int, typer.Option("--max-layers", metavar="N", help="Most layers; small ones share one.")
    ] = 100,
) -> int:
    """Write an environment as layers of a container image.

    Examples:

      pipm layers pylock.toml -o oci --python 3.12

    Each distribution is a layer with the same bytes on every machine, so registries and hosts keep it once.
    Put the layers on an image with the same Python, such as python:3.12.
    """
    from pipm.cli.pack_output import layers
    from pipm.cli.remote_output import RemoteArguments

    arguments = RemoteArguments("", tuple(sources or ()), environment, python)
    return layers(session.output, session.store, arguments, output, prefix=prefix, home=home, most=most)
