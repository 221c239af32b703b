"""The command line with all its commands."""

from __future__ import annotations

from pipm.cli import (  # noqa: F401 - each registers its command
    adopt_command,
    config_command,
    df_command,
    doctor_command,
    gc_command,
    help_command,
    hook_command,
    list_command,
    lock_command,
    pack_command,
    pip_command,
    release_command,
    remote_command,
    report_command,
    rm_command,
    run_command,
    schedule_command,
    store_command,
    sync_command,
    uninstall_command,
    venv_command,
    verify_command,
    why_command,
)
from pipm.cli.options import app, run

__all__ = ["app", "run"]

_ORDER = (
    *("adopt", "release", "sync", "lock", "venv", "install", "pip", "run"),
    *("push", "pull", "layers"),
    *("list", "df", "why", "report", "gc", "rm", "verify", "doctor"),
    *("schedule", "config", "uninstall", "help", "after-pip"),
)
"""The order of commands in the help."""
app.registered_commands.sort(key=lambda known: _ORDER.index(known.name or ""))
