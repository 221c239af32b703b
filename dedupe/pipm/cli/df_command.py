"""The arguments of `pipm df`."""

from __future__ import annotations

from pipm.cli.options import Exact, Session, app, command


@command(app, "df")
def df_command(session: Session, exact: Exact = False) -> int:
    """Show where the bytes are, and what sharing saves.

    With -v by distribution. It measures again what pipm or an installer changed, and of the rest as much as
    is quick; --exact measures everything.
    """
    from pipm.cli.usage_output import show_df

    return show_df(session.output, session.store, exact=exact)
