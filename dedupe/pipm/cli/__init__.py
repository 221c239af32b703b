"""The command line: arguments → one operation → output → exit code."""

from __future__ import annotations

from pipm.cli import keeping, looking, pip, running, sharing, syncing  # noqa: F401 - each registers its commands
from pipm.cli.frame import app, run

__all__ = ["app", "run"]

_ORDER = (
    *("adopt", "release", "sync", "lock", "venv", "install", "pip", "run"),
    *("list", "df", "why", "report", "gc", "verify", "doctor", "help", "after-pip"),
)
"""How the help lists commands: what is used daily first, what looks before what cleans up."""
app.registered_commands.sort(key=lambda known: _ORDER.index(known.name or ""))
