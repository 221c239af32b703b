"""The arguments of `pipm uninstall`."""

from __future__ import annotations

from pipm.cli.options import DryRun, Session, app, command


@command(app, "uninstall")
def uninstall_command(session: Session, dry_run: DryRun = False) -> int:
    """Undo everything: release all environments, remove the store.

    It also removes pipm's caches, settings, named environments, shell completions, schedule and the git hooks
    of the environments' projects.

    Examples:

      pipm uninstall -n   print how much space that needs

      pipm uninstall

    The program itself stays; the last line names the command that removes it.
    """
    from pipm.cli.uninstall_output import uninstall

    return uninstall(session.output, session.store, dry_run=dry_run)
