"""The arguments of `pipm doctor`."""

from __future__ import annotations

from pipm.cli.options import Session, app, command


@command(app, "doctor")
def doctor_command(session: Session) -> int:
    """Try links, locks, space and hooks; say what repairs them.

    Real links are tried on each file system. Exit code 1 when something does not work.
    """
    from pipm.cli.doctor_output import show_doctor

    return show_doctor(session.output, session.store)
