"""The command line: arguments → one operation → output → exit code."""

from __future__ import annotations

from dedupe.cli import keeping, looking, pip, running, sharing, syncing  # noqa: F401 - each registers its commands
from dedupe.cli.frame import app, run

__all__ = ["app", "run"]
