"""Commands that look: list, df, why, doctor, report, store; and help."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.frame import Session, app, command, store_app

Exact = Annotated[bool, typer.Option("--exact", help="Measure every file, trust no earlier figure.")]


@command(app, "list")
def list_command(
    session: Session,
    folder: Annotated[str | None, typer.Argument(metavar="[DIR]", help="All environments below DIR.")] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="path, exclusive, size, used or frees.")
    ] = "path",
    unused: Annotated[
        str | None, typer.Option("--unused", metavar="AGE", help="Only those not used for AGE: 12h, 90d, 4w.")
    ] = None,
    exact: Exact = False,
) -> int:
    """List environments, and what deleting each would free.

    Without DIR those that the store knows. Examples:

      pipm list ~/code --sort exclusive

      pipm list --unused 90d

    With DIR it says of environments that are not adopted up to about how much adopting them would free,
    one after the other, from what their RECORDs promise.
    """
    from pipm.ui.usage import show_list

    return show_list(session.output, session.store, folder, sort=sort, unused=unused, exact=exact)


@command(app, "df")
def df_command(session: Session, exact: Exact = False) -> int:
    """Say where the bytes are, and what sharing saves.

    With -v by distribution. What an installer or pipm changed is always measured anew, the rest as far as
    that is quick; --exact measures everything.
    """
    from pipm.ui.usage import show_df

    return show_df(session.output, session.store, exact=exact)


@command(app, "why")
def why_command(
    session: Session,
    subject: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A distribution, a file or a folder.")],
) -> int:
    """Say what keeps a distribution, or with whom a file is shared.

    Examples:

      pipm why numpy

      pipm why .venv/lib/python3.12/site-packages/numpy/__init__.py
    """
    from pipm.ui.why import show_why

    return show_why(session.output, session.store, subject)


@command(app, "doctor")
def doctor_command(session: Session) -> int:
    """Try links, locks, space and hooks; say what mends them.

    Real links are tried on each file system. Exit code 1 when something does not work.
    """
    from pipm.ui.doctor import show_doctor

    return show_doctor(session.output, session.store)


@command(app, "report")
def report_command(
    session: Session,
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="Environments below DIR as well, adopted or not.")
    ] = None,
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write; - prints it.")
    ] = "report.html",
    exact: Exact = False,
) -> int:
    """Draw where the bytes are: one HTML page, a map and a list.

    It loads nothing from anywhere. Examples:

      pipm report ~/code -o report.html
    """
    from pipm.ui.report import make_report

    return make_report(session.output, session.store, folder, target, exact=exact)


@command(app, "help")
def help_command(
    session: Session,
    about: Annotated[
        str | None, typer.Argument(metavar="[COMMAND|TOPIC]", help="A command, or one of the topics.")
    ] = None,
) -> int:
    """Explain a command, or a topic.

    Topics: environment, exit-codes, link-modes, store.
    """
    from pipm.ui.topics import topic

    known = {one.name for one in app.registered_commands} | {"store"}
    if about is None or (about in known and about != "store"):
        app([*([about] if about else []), "--help"], prog_name="pipm", standalone_mode=False)
    else:
        session.output.data(topic(about))
    return 0


@command(store_app, "path")
def store_path_command(session: Session) -> int:
    """Print where the store is."""
    if session.output.json:
        session.output.document("store path", {"path": session.store})
    else:
        session.output.data(session.store)
    return 0


@command(store_app, "add")
def store_add_command(
    session: Session,
    wheels: Annotated[list[str], typer.Argument(metavar="WHEEL...", help="Wheel files.")],
) -> int:
    """Let wheel files into the store."""
    from pipm.ui.commands import add_wheels

    return add_wheels(session.output, session.store, wheels)


@command(store_app, "ls")
def store_ls_command(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One distribution.")] = None,
) -> int:
    """List the wheels that the store has."""
    from pipm.ui.usage import show_entries

    return show_entries(session.output, session.store, name)
