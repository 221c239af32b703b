"""The arguments of `pipm uninstall`."""

from __future__ import annotations

from pipm.cli.options import DryRun, Session, app, command


@command(app, "uninstall")
def uninstall_command(session: Session, dry_run: DryRun = False) -> int:
    """Undo everything: release all environments, remove the store.

    Its caches, settings, named environments and shell completions go, too.

    Examples:

      pipm uninstall -n   and how much room that needs

      pipm uninstall

    The program itself stays: the last line says what removes it.
    """
    from pipm.cli.uninstall_output import uninstall

    return uninstall(session.output, session.store, dry_run=dry_run)
