"""`pipm venv`: a new environment whose pip goes through the store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.env.create import create_environment, seed_pip
from dedupe.errors import LinkingImpossibleError
from dedupe.fs.links import LinkMode
from dedupe.ops.folding.ladder import adopt_by_finder
from dedupe.ops.progress import Progress
from dedupe.ops.sharing.adopt import adopt
from dedupe.ops.syncing.wrapping import wrap_pip

if TYPE_CHECKING:
    from dedupe.env.base import BaseInterpreter
    from dedupe.ops.sharing.adoption import AdoptOptions

_ZIPIMPORT = (3, 10)
"""ensurepip runs pip out of its wheel; older interpreters load from there in a way the wrapper is not in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEnvironment:
    """What was made. ``obstacle`` says why it shares nothing with the store, where that is so."""

    path: str
    python: str
    link_mode: str
    wrapped: bool
    obstacle: LinkingImpossibleError | None
    seconds: float


def make_venv(
    store_path: str, path: str, interpreter: BaseInterpreter, options: AdoptOptions, *, wrap: bool
) -> NewEnvironment:
    """Make an environment at *path* with pip in it, known to the store, and its pip wrapped.

    Where the store cannot share with that place (another file system), it is an ordinary environment,
    unless a link mode was asked for. Raises PipmError.
    """
    started = time.monotonic()
    share = adopt_by_finder if options.link_mode is LinkMode.FINDER else adopt
    environment = create_environment(path, interpreter)
    obstacle, link_mode, wrapped = None, "copy", False
    try:
        link_mode = share(store_path, environment.path, options, Progress()).link_mode
    except LinkingImpossibleError as error:
        if options.link_mode is not None:
            raise
        obstacle = error
    else:
        wrapped = wrap_pip(store_path, environment.path, link_mode, wanted=wrap)
    seed_pip(environment, interpreter)
    if obstacle is None and (not wrapped or interpreter.version < _ZIPIMPORT):
        share(store_path, environment.path, options, Progress())
    return NewEnvironment(
        path=environment.path,
        python=environment.python,
        link_mode=link_mode,
        wrapped=wrapped,
        obstacle=obstacle,
        seconds=time.monotonic() - started,
    )
