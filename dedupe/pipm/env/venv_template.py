"""Making environments as ``python -m venv`` does, without starting it.

Environments without pip have a dozen small files and links, which differ only by path and name. So venv runs
once for each interpreter, in a folder of the cache, and its result is cached as a template. If a path has
characters that need quoting, venv itself makes the environment.
"""

from __future__ import annotations

import os
import re

from pipm.env.interpreter_cache import cached_answer
from pipm.errors import InterpreterError
from pipm.fs.cache_files import user_cache_folder
from pipm.fs.removal import remove_folder
from pipm.fs.tree_template import read_template, write_template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.env.base_interpreter import BaseInterpreter
    from pipm.fs.tree_template import Row

_PLAIN = re.compile(r"/[A-Za-z0-9_./-]+")
CONFIGURATION = "pyvenv.cfg"
_PATH, _NAME = "\0path\0", "\0name\0"


def create_from_template(
    path: str,
    interpreter: BaseInterpreter,
    run_venv: Callable[[str], None],
    meanwhile: Callable[[], None],
) -> bool:
    """Make the environment at *path*; if only venv can make it, return False and make nothing.

    ``pyvenv.cfg`` is written when all other files are on disk: without it a directory is not an environment.
    *run_venv* makes an environment by venv at a path. *meanwhile* is called during a wait for the disk.
    Raises OSError.
    """
    scratch = f"{user_cache_folder()}/venv-{os.urandom(12).hex()}"
    if not (_PLAIN.fullmatch(path) and _PLAIN.fullmatch(scratch) and interpreter.venv):
        return False
    try:
        # A Linux distribution may update the module without the interpreter.
        question = f"venv {os.stat(interpreter.venv).st_mtime_ns}"
        rows = cached_answer(interpreter.path, question, lambda: _learn(scratch, run_venv))
    except (OSError, InterpreterError):  # no cache, or no venv: running venv itself will show the error
        return False
    if not rows:
        return False
    name = os.path.basename(path)
    write_template(
        path,
        [(where, kind, text.replace(_PATH, path).replace(_NAME, name)) for where, kind, text in rows],
        last=CONFIGURATION,
        meanwhile=meanwhile,
    )
    return True


def _learn(scratch: str, run_venv: Callable[[str], None]) -> list[Row]:
    """Return the rows of an environment with placeholders for path and name; [] if there is no template."""
    try:
        run_venv(scratch)
        rows = read_template(scratch)
    except ValueError:  # for example if venv copies the interpreter
        return []
    finally:
        remove_folder(scratch)
    name = os.path.basename(scratch)
    return [(where, kind, text.replace(scratch, _PATH).replace(name, _NAME)) for where, kind, text in rows]
