"""The command line: arguments → one operation → output → exit code."""

from __future__ import annotations

from dedupe.cli import keeping, looking, pip, running, sharing, syncing  # noqa: F401 - each registers its commands
from dedupe.cli.frame import app, run

__all__ = ["app", "run"]

_DAILY = ("adopt", "sync", "venv", "install", "pip", "run", "list", "df")
"""What stands first in the help; the rest follows in the order in which it was registered."""
app.registered_commands.sort(
    key=lambda known: _DAILY.index(known.name) if known.name in _DAILY else len(_DAILY)
)
