"""The arguments of `pipm doctor`."""

from __future__ import annotations

from pipm.cli.options import Session, app, command


@command(app, "doctor")
def doctor_command(session: Session) -> int:
    """Check links, locks, space and hooks; name remedies.

    It makes trial links on each file system. The exit code is 1 if something does not work.
    """
    from pipm.cli.doctor_output import show_doctor

    return show_doctor(session.output, session.store)
