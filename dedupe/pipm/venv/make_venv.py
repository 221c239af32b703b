"""`pipm venv`: a new environment whose pip takes files from the store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.env.create_environment import create_environment, seed_pip
from pipm.errors import LinkingImpossibleError, PipmError
from pipm.fs.durability import sync_tree
from pipm.adopt.choose_mode import adopt_by_best_mode
from pipm.context.progress import Progress
from pipm.venv.wrap_pip import wrap_pip

if TYPE_CHECKING:
    from pipm.env.base_interpreter import BaseInterpreter
    from pipm.share.adoption import AdoptOptions

_ZIPIMPORT = (3, 10)
"""ensurepip runs pip from its wheel; before this version the wrapper is not loaded then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEnvironment:
    """The result. ``obstacle`` is the error if it can share nothing with the store."""

    path: str
    python: str
    link_mode: str
    wrapped: bool
    obstacle: LinkingImpossibleError | None
    seconds: float


def make_venv(
    store_path: str,
    path: str,
    interpreter: BaseInterpreter,
    options: AdoptOptions,
    progress: Progress,
    *,
    wrap: bool,
) -> NewEnvironment:
    """Make an environment at *path* with pip, adopt it, and wrap its pip.

    If it can share nothing with the store, not even by the finder (an overlay), it is an ordinary
    environment, unless a link mode was asked for. Raises PipmError.
    """
    started = time.monotonic()
    environment = create_environment(path, interpreter)
    obstacle, link_mode, wrapped = None, "copy", False
    try:
        link_mode = _share(store_path, environment.path, options, progress)
    except LinkingImpossibleError as error:
        if options.link_mode is not None:
            raise
        obstacle = error
    else:
        wrapped = wrap_pip(store_path, environment.path, link_mode, wanted=wrap)
    seed_pip(environment, interpreter)
    if obstacle is None and (not wrapped or interpreter.version < _ZIPIMPORT):
        _share(store_path, environment.path, options, Progress())
    sync_tree(environment.path)
    return NewEnvironment(
        path=environment.path,
        python=environment.python,
        link_mode=link_mode,
        wrapped=wrapped,
        obstacle=obstacle,
        seconds=time.monotonic() - started,
    )


def _share(store_path: str, path: str, options: AdoptOptions, progress: Progress) -> str:
    """Adopt the environment; return the link mode."""
    (outcome,) = adopt_by_best_mode(store_path, [path], options, progress).values()
    if isinstance(outcome, PipmError):
        raise outcome
    return outcome.link_mode
