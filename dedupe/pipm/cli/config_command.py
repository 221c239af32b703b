"""The arguments of `pipm config`."""

from __future__ import annotations

from pipm.cli.options import Session, app, command


@command(app, "config")
def config_command(session: Session) -> int:
    """Show the settings and the origin of each.

    An option comes before an environment variable, that before the project's pipm.toml (or [tool.pipm] in
    pyproject.toml), that before your own pipm.toml: pipm help settings.
    """
    from pipm.cli.config_output import show_settings

    return show_settings(session.output, session.store)
