"""The output of `pipm venv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.format_text import path_text, seconds_text
from pipm.cli.named_environments import environment_folder
from pipm.cli.option_table import SyncArguments
from pipm.cli.sync_output import sync_environment
from pipm.cli.terminal_progress import progress_for
from pipm.core.selection import Selection
from pipm.env.base_interpreter import find_interpreter
from pipm.fs.link_modes import parse_link_mode
from pipm.share.adoption import AdoptOptions
from pipm.store.configuration import setting
from pipm.sync.open_lock import open_lock
from pipm.venv.make_venv import make_venv

if TYPE_CHECKING:
    from pipm.cli.output import Output


def make_environment(
    output: Output, store: str, path: str, *, python: str | None, link_mode: str, wrap: bool
) -> int:
    """Make an environment and print the result."""
    options = AdoptOptions(link_mode=parse_link_mode(link_mode or setting("link-mode")))
    interpreter = find_interpreter(python)
    made = make_venv(store, environment_folder(path), interpreter, options, progress_for(output), wrap=wrap)
    if output.json:
        document: dict[str, object] = {
            "environment": made.path,
            "python": made.python,
            "interpreter": interpreter.path,
            "link_mode": made.link_mode,
            "pip_wrapped": made.wrapped,
            "seconds": round(made.seconds, 3),
        }
        output.document("venv", document)
    shown = path_text(made.path)
    output.result(f"Made {shown} with {interpreter.shown} {seconds_text(made.seconds)}")
    if made.obstacle is not None:
        output.note("warning", f"it shares nothing: {made.obstacle.message}")
        output.note("hint", made.obstacle.hint or "use a store on that file system (--store DIR)")
    if path.startswith("@"):
        output.note("hint", f"run something in it: pipm run -e {path} -- python")
    else:
        output.note("hint", f"activate it with: source {shown}/bin/activate")
    return 0


def make_synced(
    output: Output,
    store: str,
    path: str,
    *,
    lock: str,
    python: str | None,
    link_mode: str,
    wrap: bool,
) -> int:
    """Make an environment and sync it with *lock*; with --json the object is that of sync."""
    open_lock(lock, Selection())  # before anything is made
    alone = output._replace(json=False, quiet=2) if output.json else output
    make_environment(alone, store, path, python=python, link_mode=link_mode, wrap=wrap)
    return sync_environment(
        output, store, SyncArguments({"lock": lock, "environment": path, "link_mode": link_mode})
    )
